/** Defaults of payload schemas. */
import t from 'tap'
import { Type, type TSchema } from 'typebox'
import { createDefaults } from '../../src/definitions/fill-defaults.js'
import { createChecker } from '../../src/definitions/schema-errors.js'

const filled = { a: Type.String({ default: 'filled' }) }
const name = Type.String({ pattern: '^[a-z]+$' })

t.test('defaults are filled in, and violations are named, where a schema is true or false', async (t) => {
  const cases: [TSchema, object, object, string[]][] = [
    [
      Type.Object({ ...filled, h: Type.Record(name, Type.String(), { additionalProperties: false }) }),
      { h: { 'B b': 'x' } },
      { a: 'filled' },
      ['/h/B b'],
    ],
    [
      Type.Object({ ...filled, h: Type.Record(name, Type.String(), { additionalProperties: true }) }),
      { h: { 'B b': 'x' } },
      { a: 'filled', h: { 'B b': 'x' } },
      [],
    ],
    [Type.Object({ ...filled, l: Type.Array(Type.String(), { items: false }) }), { l: [1] }, { a: 'filled' }, ['/l/0']],
    [
      Type.Object({ o: Type.Union([Type.Null(), Type.Object(filled, { additionalProperties: false })]) }),
      { o: {} },
      { o: { a: 'filled' } },
      [],
    ],
    [Type.Object(filled, { additionalProperties: true }), { x: 1 }, { a: 'filled', x: 1 }, []],
    [Type.Object(filled, { additionalProperties: false }), { x: 1 }, { a: 'filled' }, ['/x']],
    [
      Type.Object({ flag: Type.Boolean({ default: false }), additionalProperties: Type.Boolean({ default: true }) }),
      {},
      { flag: false, additionalProperties: true },
      [],
    ],
  ]
  for (const [schema, given, expected, pointers] of cases) {
    const value = createDefaults(schema)(given)
    t.match(value, expected)
    t.same(
      createChecker(schema)
        .check(value)
        .map(({ pointer }) => pointer),
      pointers,
    )
  }
})
