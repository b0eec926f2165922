/** How the page presents JSON Schemas. */
import t from 'tap'
import { Type } from 'typebox'
import { describeFields, makeExample } from '../../public/format/schema.js'
import { createTypeSnippets } from '../../public/format/snippets.js'
import { createChecker } from '../../src/definitions/schema-errors.js'
import { createDefinitions } from '../../src/handlers/built-in.js'

const definitions = createDefinitions({ httpRequestAllowPrivate: false, emailFrom: 'a@example.com', emailDir: '' })

t.test('fields are described in rows, those of objects by dotted names', async (t) => {
  const schema = Type.Object({
    name: Type.String({ description: 'Whose it is.' }),
    size: Type.Optional(
      Type.Object({ width: Type.Integer({ minimum: 1, maximum: 9, default: 3, description: 'In pixels.' }) }),
    ),
    kind: Type.Optional(Type.Union([Type.Literal('a'), Type.Literal('b'), Type.Null()])),
    tags: Type.Array(Type.String()),
    at: Type.Optional(Type.String({ format: 'date-time' })),
    any: Type.Optional(Type.Unknown()),
  })
  t.same(describeFields(schema), [
    { name: 'name', type: 'string', isRequired: true, fallback: undefined, text: 'Whose it is.' },
    { name: 'size', type: 'object', isRequired: false, fallback: undefined, text: '' },
    { name: 'size.width', type: 'integer', isRequired: true, fallback: 3, text: 'In pixels. 1 to 9.' },
    { name: 'kind', type: '"a" | "b"', isRequired: false, fallback: undefined, text: '' },
    { name: 'tags', type: 'array of string', isRequired: true, fallback: undefined, text: '' },
    { name: 'at', type: 'time (ISO 8601)', isRequired: false, fallback: undefined, text: '' },
    { name: 'any', type: 'any JSON', isRequired: false, fallback: undefined, text: '' },
  ])
  t.match(describeFields(Type.Integer({ minimum: 1 })), [{ name: '', type: 'integer', text: 'At least 1.' }])
})

t.test('the example of each built-in type matches its schema, so its snippets work unchanged', async (t) => {
  for (const { type, payload } of definitions) {
    t.same(createChecker(payload).check(makeExample(payload)), [], type)
    const [terminal] = createTypeSnippets({ type, payload }, 'http://localhost:3000')
    t.match(terminal?.code, `"type":"${type}"`)
  }
})
