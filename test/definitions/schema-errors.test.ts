import t from 'tap'
import Type from 'typebox'
import { createChecker } from '../../src/definitions/schema-errors.js'
import { CancelRequest, CreateBatch, CreateTask } from '../../src/protocol/http.js'
import { ListTasksQuery, LogsQuery } from '../../src/protocol/queries.js'
import { findUnstorable } from '../../src/protocol/text.js'

const details = (schema: Parameters<typeof createChecker>[0], value: unknown) =>
  createChecker(schema)
    .check(value)
    .map(({ pointer, detail }) => `${pointer} ${detail}`)

t.test('a pattern is explained by an example if it has one', async (t) => {
  const schema = Type.Object({
    to: Type.Array(Type.String({ pattern: '@', examples: ['ada@example.com'] })),
    code: Type.Optional(Type.String({ pattern: '^a+$' })),
  })
  t.same(details(schema, { to: ['x'], code: 'b' }), [
    '/to/0 must look like ada@example.com',
    '/code must match pattern "^a+$"',
  ])
})

t.test('every wrong field is named once, by its JSON Pointer', async (t) => {
  t.same(details(CreateTask, { title: 'x'.repeat(201), priority: 10, tagz: [], tags: [''], runAt: 'soon' }).sort(), [
    '/priority must be <= 9',
    '/runAt must match format "date-time"',
    '/tags/0 must not have fewer than 1 characters',
    '/tagz is not known here',
    '/title must not have more than 200 characters',
  ])
  t.same(details(CreateTask, { title: 'fine' }), [])
  t.same(details(CreateTask, null), [' must be object'])
  t.same(details(CreateTask, []), [' must be object'])
})

t.test('a missing field and an unknown choice are explained in words', async (t) => {
  t.same(details(Type.Object({ 'a/b': Type.String() }), {}), ['/a~1b is missing'])
  t.match(details(ListTasksQuery, { status: 'DONE' }), [/^\/status must be one of SCHEDULED, .*EXPIRED$/])
  const choice = Type.Object({ size: Type.Union([Type.Literal('small'), Type.Literal('large')]) })
  t.equal(details(choice, { size: 'huge' }).length, 1)
})

const unknownFields = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`extra${index}`, index]))

t.test('a wrong value stays wrong among any number of unknown fields, before it and after it', async (t) => {
  for (let count = 0; count <= 60; count += 1) {
    for (const value of [
      { ...unknownFields(count), limit: 300_000 },
      { limit: 300_000, ...unknownFields(count) },
    ]) {
      const errors = createChecker(LogsQuery).check(value)
      t.ok(
        errors.some(({ pointer }) => pointer === '/limit'),
        `${count} unknown fields do not hide it`,
      )
      t.equal(errors.length, Math.min(count + 1, 50), 'each is named once, up to fifty')
    }
  }
  t.ok(
    createChecker(CreateBatch)
      .check({ tasks: [{}, { priority: 99, ...unknownFields(8) }] })
      .some(({ pointer }) => pointer === '/tasks/1/priority'),
  )
})

t.test('a value refused by the check is refused even when no keyword has words for it', async (t) => {
  const wordless = Type.Unsafe<object>({ type: 'object', patternProperties: { '^a': false } })
  t.same(details(wordless, { a: 1 }), [' does not fit its schema'])
  t.same(details(wordless, { b: 'x' }), [])
  t.same(details(Type.Unsafe<object>({ type: 'object', properties: { a: false } }), { a: 1 }), ['/a must not be given'])
  const even = Type.Object({ n: Type.Refine(Type.Integer(), (value) => value % 2 === 0) })
  t.equal(details(even, { n: 1 }).length, 1)
  const tree = Type.Cyclic(
    { Node: Type.Object({ children: Type.Array(Type.Ref('Node')) }, { additionalProperties: false }) },
    'Node',
  )
  t.same(details(tree, { children: [{ children: [] }] }), [])
  t.match(details(tree, { children: [{ children: 1 }] }), [/^\/children\/0\/children must be array/])
  t.equal(
    details(tree, { children: Array.from({ length: 5_000 }, () => ({ child: [] })) }).length,
    1,
    'a large value with references is only reported as not matching',
  )
})

t.test('for "an object or null" the fields of the object are named', async (t) => {
  t.same(details(Type.Union([CancelRequest, Type.Null()]), { reason: 5, children: 'no', x: 1 }).sort(), [
    '/children must be boolean',
    '/reason must be string',
    '/x is not known here',
  ])
})

t.test('a list or an object of the wrong length says so, however long it is', async (t) => {
  t.same(
    details(CreateBatch, { tasks: Array.from({ length: 100_000 }, () => 0) })[0],
    '/tasks must not have more than 1000 items',
  )
  const few = Type.Object({ a: Type.Record(Type.String(), Type.Integer(), { maxProperties: 3 }) })
  t.same(details(few, { a: unknownFields(10_000) }), ['/a must not have more than 3 properties'])
})

t.test(
  'the work of an explanation does not grow with the number of unknown fields, nor its answer with their names',
  async (t) => {
    let reads = 0
    const value = new Proxy(unknownFields(100_000), { get: (target, name: string) => ((reads += 1), target[name]) })
    const errors = createChecker(CreateTask).check(value)
    t.equal(errors.length, 50)
    t.ok(reads < 1_000, `${reads} fields were read`)
    const [error] = createChecker(CreateTask).check({ ['x'.repeat(1_000_000)]: 1 })
    t.ok(JSON.stringify(error).length < 300)
  },
)

t.test('text that cannot be stored is found wherever it is', async (t) => {
  t.match(findUnstorable({ a: [{ b: 'x\0' }] }, 10), { pointer: '/a/0/b', detail: /U\+0000/ })
  t.match(findUnstorable({ 'k\0': 1 }, 10), { detail: /U\+0000/ })
  t.match(findUnstorable(['\ud800'], 10), { pointer: '/0', detail: /surrogate/ })
  t.match(findUnstorable([[[1]]], 2), { pointer: '/0/0', detail: /deeply/ })
  t.equal(findUnstorable({ a: ['🎉', 1, null, true, { b: [] }] }, 5), undefined)
})
