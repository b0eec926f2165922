/** JSON text is measured before it is parsed. */
import fc from 'fast-check'
import t from 'tap'
import {
  BODY_BOUNDS,
  FRAME_BOUNDS,
  JsonBoundError,
  measureJson,
  readJson,
  type JsonBounds,
} from '../../src/web/bodies/json-text.js'

const ENDLESS: JsonBounds = { maxDepth: 64, maxValues: Infinity, maxFields: Infinity, maxShapes: Infinity }

/** The same counts, computed from the parsed value. */
function count(value: unknown): { depth: number; values: number; fields: number } {
  const total = { depth: 0, values: 1, fields: 0 }
  const visit = (part: unknown, depth: number): void => {
    if (typeof part !== 'object' || part === null) return
    const members = Object.values(part)
    total.depth = Math.max(total.depth, depth)
    // An empty object or list counts as its bracket, any other as its bracket and its commas.
    total.values += 1 + Math.max(members.length - 1, 0)
    if (!Array.isArray(part)) total.fields += members.length
    for (const member of members) visit(member, depth + 1)
  }
  visit(value, 1)
  return total
}

t.test('depth, values and fields are counted as in the parsed value, whatever the strings contain', async (t) => {
  const text = fc.string({
    unit: fc.constantFrom('"', '\\', '{', '}', '[', ']', ',', ':', 'a', '\u2028', '😀', '\ud800'),
  })
  const json = fc.jsonValue({ maxDepth: 5, stringUnit: 'binary' })
  const value = fc.oneof(json, fc.dictionary(text, fc.oneof(text, json)), fc.array(text))
  fc.assert(
    fc.property(value, fc.constantFrom(undefined, 1, '\t'), (value, space) => {
      const written = JSON.stringify(value, null, space)
      const { depth, values, fields } = measureJson(written, ENDLESS)
      t.strictSame({ depth, values, fields }, count(JSON.parse(written)))
    }),
    { numRuns: 500 },
  )
})

t.test('no text makes the measurement throw or run on', async (t) => {
  const unit = fc.constantFrom('"', '\\', '{', '}', '[', ']', ',', ':', '0', 'x'.repeat(300), '"a":', '\0')
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 200 }), (text) => {
      t.ok(measureJson(text, BODY_BOUNDS).depth <= text.length)
      t.ok(measureJson(text.repeat(50), { ...BODY_BOUNDS, maxShapes: 10 }))
    }),
    { numRuns: 500 },
  )
})

const objects = (count: number, make: (index: number) => string) =>
  `[${Array.from({ length: count }, (_, index) => make(index)).join()}]`
const fields = (count: number, name: (index: number) => string) =>
  `{${Array.from({ length: count }, (_, index) => `"${name(index)}":0`).join()}}`

const TOO_MUCH: [name: string, text: string, excess: RegExp][] = [
  ['lists inside one another', '['.repeat(100_000), /nested/],
  ['objects inside one another', `${'{"a":'.repeat(65)}0${'}'.repeat(65)}`, /nested/],
  ['empty objects', objects(200_001, () => '{}'), /values/],
  ['numbers', objects(200_001, () => '0'), /values/],
  ['identical objects', objects(25_001, () => '{"a":0,"b":1}'), /fields/],
  ['one object with very many fields', fields(5_500, (index) => `a${index}`), /different/],
  ['objects with different fields each', objects(5_500, (index) => `{"a${index}":0}`), /different/],
  [
    'the same few fields, in another order each time',
    objects(3_000, (index) => fields(8, (place) => String((index * (place + 7)) % 1_009))),
    /different/,
  ],
  ['long names', objects(5_001, (index) => `{"${'x'.repeat(300)}${index}":0}`), /different/],
]

t.test('a text beyond the limits is not parsed', async (t) => {
  for (const [name, text, excess] of TOO_MUCH) {
    const error = t.throws(() => readJson(text, BODY_BOUNDS), { name: 'JsonBoundError' }, name)
    t.match((error as unknown as Error).message, excess)
    t.throws(() => readJson(text, FRAME_BOUNDS), JsonBoundError)
  }
})

t.test('a batch of a thousand tasks, a table, and the largest subscription are read', async (t) => {
  const task = {
    title: 'example task',
    payload: Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`field${index}`, index])),
    tags: ['a', 'b'],
  }
  const id = (index: number) => `019aa3f2-7c1e-7b3a-9a55-${index.toString(16).padStart(12, '0')}`
  const ids = Array.from({ length: 1_000 }, (_, index) => id(index))
  const batch = { tasks: Array.from({ length: 1_000 }, () => task) }
  const table = Array.from({ length: 10_000 }, (_, index) => ({ index, name: `row ${index}`, x: 1.5 }))
  const subscription = {
    type: 'subscribe',
    id: 'a',
    selection: { ids },
    since: Object.fromEntries(ids.map((id) => [id, 3])),
  }
  t.strictSame(readJson(JSON.stringify(batch), BODY_BOUNDS), batch)
  t.strictSame(readJson(JSON.stringify(table), BODY_BOUNDS), table)
  t.strictSame(readJson(JSON.stringify(subscription), FRAME_BOUNDS), subscription)
})

t.test('a field that could pollute prototypes is refused, and one that only looks like it is not', async (t) => {
  for (const text of ['{"__proto__":1}', '[{"a":{"\\u005f_proto__":{}}}]', '{"constructor":{"prototype":{}}}'])
    t.throws(() => readJson(text, BODY_BOUNDS), SyntaxError, text)
  t.strictSame(readJson('{"a":"__proto__","constructor":1}', BODY_BOUNDS), { a: '__proto__', constructor: 1 })
})
