import t from 'tap'
import Type from 'typebox'
import { CreateTask, ListTasksQuery } from '../../src/protocol/http.js'
import { findUnstorable } from '../../src/protocol/text.js'
import { createChecker } from '../../src/tasks/schema-errors.js'

const details = (schema: Parameters<typeof createChecker>[0], value: unknown) =>
  createChecker(schema).check(value).map(({ pointer, detail }) => `${pointer} ${detail}`)

t.test('a pattern is explained by an example, where there is one', async (t) => {
  const schema = Type.Object({ to: Type.Array(Type.String({ pattern: '@', examples: ['ada@example.com'] })), code: Type.Optional(Type.String({ pattern: '^a+$' })) })
  t.same(details(schema, { to: ['x'], code: 'b' }), ['/to/0 must look like ada@example.com', '/code must match pattern "^a+$"'])
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

t.test('a missing field and an unknown choice are said in words', async (t) => {
  t.same(details(Type.Object({ 'a/b': Type.String() }), {}), ['/a~1b is missing'])
  t.match(details(ListTasksQuery, { status: 'DONE' }), [/^\/status must be one of SCHEDULED, .*EXPIRED$/])
  const choice = Type.Object({ size: Type.Union([Type.Literal('small'), Type.Literal('large')]) })
  t.equal(details(choice, { size: 'huge' }).length, 1)
})

t.test('text that cannot be stored is found wherever it is', async (t) => {
  t.match(findUnstorable({ a: [{ b: 'x\0' }] }, 10), { pointer: '/a/0/b', detail: /U\+0000/ })
  t.match(findUnstorable({ 'k\0': 1 }, 10), { detail: /U\+0000/ })
  t.match(findUnstorable(['\ud800'], 10), { pointer: '/0', detail: /surrogate/ })
  t.match(findUnstorable([[[1]]], 2), { pointer: '/0/0', detail: /deeply/ })
  t.equal(findUnstorable({ a: ['🎉', 1, null, true, { b: [] }] }, 5), undefined)
})
