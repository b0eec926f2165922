import t from 'tap'
import { readFrame } from '../helpers/frame-check.js'
import { startApp } from '../helpers/app.js'

const { address } = await startApp(t)
const read = async (path: string) => (await fetch(address + path)).json() as Promise<Record<string, unknown>>

function* findRefs(value: unknown): Generator<string> {
  if (typeof value !== 'object' || value === null) return
  for (const [key, member] of Object.entries(value)) {
    if (key === '$ref' && typeof member === 'string') yield member
    else yield* findRefs(member)
  }
}

const resolve = (document: unknown, ref: string) =>
  ref.slice(2).split('/').reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], document)

t.test('/asyncapi.json describes the streams, and its references lead somewhere', async (t) => {
  const document = await read('/asyncapi.json')
  t.match(document, {
    asyncapi: '3.0.0',
    channels: { taskStream: { address: '/ws/tasks/{id}', bindings: { ws: { query: { properties: { since: { type: 'string' } } } } } } },
    info: { 'x-close-codes': [{ code: 1000, action: 'stop' }] },
    operations: { tellOfTask: { action: 'send' }, takeRequests: { action: 'receive' }, tellOfTasks: { action: 'send' } },
  })
  const refs = [...findRefs(document)]
  // Each message of a channel twice (in the channel and in the operation), and the channel of each operation.
  t.equal(refs.length, 2 * 6 + 2 * 16 + 3)
  for (const ref of refs) t.ok(resolve(document, ref), ref)
  t.match(resolve(document, '#/components/messages/transition'), { payload: { type: 'object', properties: { version: { type: 'integer' }, edited: {}, changes: {} } } })
})

t.test('/openapi.json describes every call', async (t) => {
  const { paths } = (await read('/openapi.json')) as { paths: Record<string, Record<string, unknown>> }
  t.match(paths, {
    '/api/tasks': { get: {}, post: {} },
    '/api/tasks/{id}': { get: { parameters: [{ name: 'wait' }] } },
    '/api/tasks/{id}/events': { get: { responses: { 204: {} } } },
  })
})

t.test('errors are described as they are answered', async (t) => {
  const { paths } = (await read('/openapi.json')) as { paths: Record<string, Record<string, { responses: Record<string, { content?: object }> }>> }
  for (const [path, calls] of Object.entries(paths)) {
    for (const [method, { responses }] of Object.entries(calls)) {
      const failures = Object.entries(responses).filter(([status]) => status === 'default' || (Number(status) >= 400 && path !== '/readyz'))
      t.ok(failures.length > 0, `${method} ${path}`)
      for (const [status, { content = {} }] of failures) t.same(Object.keys(content), ['application/problem+json'], `${method} ${path} ${status}`)
    }
  }
})

t.test('a frame that is not in the document is found', async (t) => {
  t.throws(() => readFrame('{"type":"transition","taskId":"019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10"}'), /not in \/asyncapi.json/)
  t.throws(() => readFrame('{"type":"surprise"}'), /not in \/asyncapi.json/)
})
