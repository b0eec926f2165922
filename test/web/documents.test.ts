import t from 'tap'
import { startApp } from '../helpers/app.js'
import { readFrame } from '../helpers/frame-check.js'

const { address } = await startApp(t)
const document = (await (await fetch(`${address}/openapi.json`)).json()) as Document
const read = async (path: string) => (await fetch(address + path)).json() as Promise<Record<string, unknown>>

function* findRefs(value: unknown): Generator<string> {
  if (typeof value !== 'object' || value === null) return
  for (const [key, member] of Object.entries(value)) {
    if (key === '$ref' && typeof member === 'string') yield member
    else yield* findRefs(member)
  }
}

const resolve = (document: unknown, ref: string) =>
  ref
    .slice(2)
    .split('/')
    .reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], document)

t.test('/asyncapi.json describes the streams, and its references resolve', async (t) => {
  const document = await read('/asyncapi.json')
  t.match(document, {
    asyncapi: '3.1.0',
    channels: {
      taskStream: {
        address: '/ws/tasks/{id}',
        bindings: { ws: { query: { properties: { since: { type: 'string' } } } } },
      },
    },
    info: { 'x-close-codes': [{ code: 1000, action: 'stop' }] },
    operations: {
      tellOfTask: { action: 'send' },
      takeRequests: { action: 'receive' },
      tellOfTasks: { action: 'send' },
    },
  })
  const refs = [...findRefs(document)]
  // Each message of a channel counts twice (for the channel and the operation), and each operation refers to its
  // channel.
  t.equal(refs.length, 2 * 7 + 2 * 17 + 3)
  for (const ref of refs) t.ok(resolve(document, ref), ref)
  t.match(resolve(document, '#/components/messages/transition'), {
    payload: { type: 'object', properties: { version: { type: 'integer' }, edited: {}, changes: {} } },
  })
})

interface Operation {
  operationId: string
  tags: string[]
  summary: string
  parameters?: { name: string; in: string; example: unknown; required: boolean }[]
  requestBody?: { content: Record<string, { schema: unknown }> }
  responses: Record<string, { $ref?: string; headers?: object; content?: object }>
}
interface Document {
  paths: Record<string, Record<string, Operation>>
  tags: { name: string }[]
  security: unknown
  components: { schemas: Record<string, unknown>; responses: Record<string, { headers?: object; content: object }> }
}

const operations = Object.entries(document.paths).flatMap(([path, calls]) =>
  Object.entries(calls).map(([method, operation]) => ({ name: `${method} ${path}`, method, path, operation })),
)
const follow = <Value extends object>(value: Value & { $ref?: string }) =>
  value.$ref === undefined ? value : (resolve(document, value.$ref) as Value)

t.test('/openapi.json lists every call with its parameters', async (t) => {
  t.match(
    operations.map(({ operation }) => operation.operationId),
    [
      ...[
        'createTask',
        'listTasks',
        'createTasks',
        'cancelTask',
        'editTask',
        'readTask',
        'readTaskEvents',
        'listAttempts',
        'listLogs',
        'listArtifacts',
        'downloadArtifact',
      ],
      ...[
        'createArtifactLink',
        'downloadByLink',
        'createUpload',
        'readEvents',
        'listTypes',
        'listWorkers',
        'drainWorker',
        'resumeWorker',
        'listLimits',
        'putLimit',
        'deleteLimit',
        'listPauses',
        'putPause',
        'deletePause',
        'listWeights',
        'putTenantWeight',
        'deleteTenantWeight',
        'putKeyWeight',
        'deleteKeyWeight',
        'listHaltedSequences',
        'resumeSequence',
        'listSchedules',
        'readSchedule',
        'putSchedule',
        'deleteSchedule',
        'previewSchedule',
        'resetSchedule',
        'pauseSchedule',
        'resumeSchedule',
        'listSlots',
        'runSchedule',
        'backfillSchedule',
        'readHealth',
        'readReadiness',
      ],
    ],
  )
  t.equal(new Set(operations.map(({ operation }) => operation.operationId)).size, operations.length)
  for (const { name, operation } of operations) {
    t.match(operation.operationId, /^[a-z]+([A-Z][a-z]+)*$/, name)
    t.ok(operation.summary, name)
    t.ok(
      operation.tags.length > 0 && operation.tags.every((tag) => document.tags.some((known) => known.name === tag)),
      name,
    )
    for (const parameter of operation.parameters ?? [])
      t.not(parameter.example, undefined, `${name}: ${parameter.name}`)
  }
  t.same(document.security, [])
})

t.test('creates and tasks are distinguished by type', async (t) => {
  const { items } = (await read('/api/types')) as unknown as { items: { type: string; isInternal: boolean }[] }
  const { schemas } = document.components
  const places = (types: string[], suffix: string) => ({
    propertyName: 'type',
    mapping: Object.fromEntries(types.map((type) => [type, `#/components/schemas/${type}.${suffix}`])),
  })
  t.match(schemas['CreateTypedTask'], {
    discriminator: places(
      items.filter(({ isInternal }) => !isInternal).map(({ type }) => type),
      'create',
    ),
  })
  t.match(schemas['Task'], {
    discriminator: places(
      items.map(({ type }) => type),
      'task',
    ),
  })
  t.notOk('webhook.deliver.create' in schemas, 'types that only the server creates cannot be created by clients')
  const create = { $ref: '#/components/schemas/CreateTask' }
  t.match(document.paths['/api/tasks']?.['post'], {
    requestBody: { content: { 'application/json': { schema: create } } },
    responses: { 202: { content: { 'application/json': { schema: { $ref: '#/components/schemas/Task' } } } } },
  })
  t.match(schemas['CreateBatch'], { properties: { tasks: { items: create } } })
  for (const { type } of items)
    t.match(schemas[`${type}.task`], {
      properties: { result: { anyOf: [{ $ref: `#/components/schemas/${type}.result` }, { type: 'null' }] } },
    })
})

t.test('the documented errors match the responses', async (t) => {
  for (const { name, path, operation } of operations) {
    const failures = Object.entries(operation.responses).filter(
      ([status]) => status === 'default' || (Number(status) >= 400 && path !== '/readyz'),
    )
    t.ok(
      ['default', '400', '500', '503'].every((status) => status in operation.responses),
      name,
    )
    for (const [status, response] of failures)
      t.same(Object.keys(follow(response).content ?? {}), ['application/problem+json'], `${name} ${status}`)
  }
})

t.test('the headers of requests and answers are described', async (t) => {
  const headersOf = (path: string, method: string) =>
    (document.paths[path]?.[method]?.parameters ?? [])
      .filter((parameter) => parameter.in === 'header')
      .map(({ name }) => name)
  t.same(headersOf('/api/tasks', 'post'), ['Idempotency-Key', 'Prefer'])
  t.same(headersOf('/api/tasks/batch', 'post'), ['Idempotency-Key', 'Prefer'])
  t.same(headersOf('/api/tasks/{id}', 'patch'), ['If-Match'])
  t.same(headersOf('/api/tasks/{id}', 'get'), ['If-None-Match'])
  t.same(headersOf('/api/tasks/{id}/events', 'get'), ['Last-Event-ID'])
  const answered = new Set<string>()
  for (const { operation } of operations)
    for (const response of Object.values(operation.responses))
      for (const name of Object.keys(follow(response).headers ?? {})) answered.add(name)
  t.same([...answered].sort(), [
    'Accept-Ranges',
    'Allow',
    'Content-Disposition',
    'Content-Range',
    'ETag',
    'Existing-Task',
    'Idempotent-Replayed',
    'Location',
    'Preference-Applied',
    'Retry-After',
  ])
})

t.test('an undocumented frame is detected', async (t) => {
  t.throws(
    () => readFrame('{"type":"transition","taskId":"019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10"}'),
    /not in \/asyncapi.json/,
  )
  t.throws(() => readFrame('{"type":"surprise"}'), /not in \/asyncapi.json/)
})
