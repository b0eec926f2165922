/**
 * The server behaves as `/openapi.json` says: it accepts the examples, refuses forbidden requests, and never answers
 * with an undocumented status.
 */
import fc from 'fast-check'
import t, { type Test } from 'tap'
import type { TSchema } from 'typebox'
import { createChecker } from '../../src/definitions/schema-errors.js'
import { startApp } from '../helpers/app.js'
import { atDepth } from '../helpers/depth.js'
import { strangeValues, toJsonText } from '../helpers/shapes.js'
import { createTask } from '../helpers/watch.js'

t.setTimeout(300_000)
const seed = Number(process.env['SHAPES_SEED'] ?? Date.now() % 2 ** 31)
const { address } = await startApp(t)

interface Operation {
  operationId: string
  parameters?: { name: string; in: string; required: boolean; example: unknown }[]
  requestBody?: { required: boolean; content: Record<string, { schema: TSchema }> }
  responses: Record<string, { content?: Record<string, { schema: TSchema }> }>
}
interface Document {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, TSchema> }
}

/** Replaces every reference with its target. The types of this server have no cycles. */
function resolveAll(value: unknown, root: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item) => resolveAll(item, root))
  if ('$ref' in value && typeof value.$ref === 'string') {
    return resolveAll(
      value.$ref
        .slice(2)
        .split('/')
        .reduce((place, key) => (place as Record<string, unknown>)[key], root),
      root,
    )
  }
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, resolveAll(member, root)]))
}

const document = await (async () => {
  const given: unknown = await (await fetch(`${address}/openapi.json`)).json()
  return resolveAll(given, given) as Document
})()
const { schemas } = document.components

const json = { 'content-type': 'application/json' }
/** Delays the start, so that the task does not run. */
const later = (body: object) => JSON.stringify({ ...body, delayMs: 86_400_000 })
const post = (path: string, body: string) => fetch(address + path, { method: 'POST', headers: json, body })

t.test('every example of a create is accepted, alone and in a batch', async (t) => {
  const names = Object.keys(schemas).filter((name) => name.endsWith('.create') || name === 'CreateDefaultTask')
  t.ok(names.length > 5)
  for (const name of names) {
    const examples = (schemas[name] as { examples?: object[] }).examples ?? []
    t.ok(examples.length > 0, `${name} has an example`)
    for (const example of examples) {
      const single = await post('/api/tasks', later(example))
      t.equal(single.status, 202, name)
      const id = ((await single.json()) as { id: string }).id
      const task = (await (await fetch(`${address}/api/tasks/${id}`)).json()) as { type: string }
      t.same(
        createChecker(schemas[`${task.type}.task`] ?? {}).check(task),
        [],
        `${name}: the task matches its documented schema`,
      )
      t.equal(
        (await post('/api/tasks/batch', JSON.stringify({ tasks: [JSON.parse(later(example))] }))).status,
        202,
        `${name} in a batch`,
      )
    }
  }
})

function exampleBody(path: string, method: string, operation: Operation): RequestInit {
  if (method === 'get') return {}
  if (operation.requestBody === undefined) return { body: '' }
  return path === '/api/uploads' ? { body: 'x' } : { headers: json, body: bodyOf(operation) }
}

/** Makes a call with its examples, but with the ids of an existing task and file. */
async function callByExamples(
  path: string,
  method: string,
  operation: Operation,
  isWhole: boolean,
  further: { query?: [string, string][]; body?: RequestInit } = {},
) {
  const task = await createTask(address, { delayMs: 86_400_000 })
  const { parameters = [] } = operation
  const isWanted = ({ required }: { required: boolean }) => isWhole || required
  const url = path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
    name === 'id'
      ? task.id
      : encodeURIComponent(String(parameters.find((parameter) => parameter.name === name)?.example)),
  )
  const query = parameters
    .filter((parameter) => parameter.in === 'query' && isWanted(parameter))
    .map(({ name, example }) => [name, String(example)])
  const headers = Object.fromEntries(
    parameters
      .filter((parameter) => parameter.in === 'header' && isWanted(parameter))
      .map(({ name, example }) => [name, String(example)]),
  )
  const body = further.body ?? exampleBody(path, method, operation)
  return fetch(`${address}${url}?${new URLSearchParams([...query, ...(further.query ?? [])]).toString()}`, {
    method: method.toUpperCase(),
    ...body,
    headers: { ...headers, ...body.headers },
  })
}

const BODIES: Record<string, object> = {
  createTask: { title: 'example', delayMs: 86_400_000 },
  createTasks: { tasks: [{ title: 'example', delayMs: 86_400_000 }] },
  editTask: { priority: 3 },
  cancelTask: { reason: 'example' },
  drainWorker: { reason: 'example' },
  putLimit: { types: ['demo.sleep'], rate: { limit: 10, periodMs: 1_000 }, whenOver: 'skip' },
  putPause: { reason: 'example' },
  putTenantWeight: { weight: 2 },
  putKeyWeight: { weight: 0.5, reason: 'example' },
  putSchedule: { cron: '0 3 * * *', task: { title: 'example' } },
  previewSchedule: { cron: '0 3 * * *', task: { title: 'example' } },
  pauseSchedule: { reason: 'example' },
  backfillSchedule: {
    from: new Date(Date.now() - 86_400_000).toISOString(),
    to: new Date(Date.now() - 60_000).toISOString(),
  },
}
function bodyOf({ operationId, requestBody }: Operation): string {
  const body = BODIES[operationId]
  const schema = requestBody?.content['application/json']?.schema
  if (body === undefined || schema === undefined) throw new Error(`no example of a body for ${operationId}`)
  const errors = createChecker(schema).check(body)
  if (errors.length > 0) throw new Error(`${operationId}: ${JSON.stringify(errors)}`)
  return JSON.stringify(body)
}

t.test('every operation answers with a documented status and body, with all its examples and with none', async (t) => {
  for (const [path, calls] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(calls)) {
      for (const isWhole of [true, false]) {
        const answer = await callByExamples(path, method, operation, isWhole)
        const name = `${method} ${path} → ${answer.status}`
        const described = operation.responses[String(answer.status)]
        t.ok(described, name)
        const type = answer.headers.get('content-type')?.split(';')[0] ?? ''
        const schema = described?.content?.[type]?.schema
        const body = await answer.text()
        if (body === '') continue
        t.ok(schema, `${name} ${type}`)
        if (type.endsWith('json')) t.same(createChecker(schema ?? {}).check(JSON.parse(body)), [], name)
        // The ids of batches and files are examples; all other resources exist.
        t.notOk(answer.status === 400 && path !== '/api/tasks/events', `${name}: ${body.slice(0, 300)}`)
      }
    }
  }
})

t.test('every operation refuses a query parameter that the document does not describe, and names it', async (t) => {
  for (const [path, calls] of Object.entries(document.paths))
    for (const [method, operation] of Object.entries(calls)) {
      const answer = await callByExamples(path, method, operation, true, { query: [['unheard-of', '1']] })
      t.equal(answer.status, 400, `${method} ${path}`)
      t.match(
        await answer.json(),
        { code: 'invalid_request', detail: 'The query is invalid: /unheard-of', errors: [{ pointer: '/unheard-of' }] },
        `${method} ${path}`,
      )
    }
})

/** Ways to send an empty body. */
const EMPTY: Record<string, () => RequestInit> = {
  'empty JSON': () => ({ headers: json, body: '' }),
  'empty JSON with a charset': () => ({ headers: { 'content-type': 'application/json; charset=utf-8' }, body: '' }),
  'white space as JSON': () => ({ headers: json, body: ' \r\n' }),
  'JSON of no chunks': () =>
    ({ headers: json, body: new ReadableStream({ pull: (it) => it.close() }), duplex: 'half' }) as never,
  'an empty text': () => ({ body: '' }),
  'an empty form, as by curl -d': () => ({
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: '',
  }),
  'a text of no chunks': () =>
    ({
      headers: { 'content-type': 'text/plain' },
      body: new ReadableStream({ pull: (it) => it.close() }),
      duplex: 'half',
    }) as never,
}

t.test('an empty body is no body where the document says that it is optional, and is refused elsewhere', async (t) => {
  const counts = { optional: 0, required: 0 }
  for (const [path, calls] of Object.entries(document.paths))
    for (const [method, operation] of Object.entries(calls)) {
      // An upload may be an empty file.
      if (method === 'get' || path === '/api/uploads') continue
      const isRequired = operation.requestBody?.required === true
      counts[isRequired ? 'required' : 'optional'] += 1
      const without = await callByExamples(path, method, operation, false, { body: {} })
      for (const [how, body] of Object.entries(EMPTY)) {
        const answer = await callByExamples(path, method, operation, false, { body: body() })
        const said = `${method} ${path}, ${how}: ${answer.status} ${(await answer.text()).slice(0, 200)}`
        if (isRequired) t.ok([400, 415].includes(answer.status), said)
        // What is deleted cannot be deleted again.
        else t.ok(answer.status === without.status || (method === 'delete' && answer.status === 404), said)
      }
    }
  t.ok(counts.optional >= 4 && counts.required >= 3, JSON.stringify(counts))
})

function fits(schema: TSchema, text: string): boolean {
  try {
    return createChecker(schema).check(JSON.parse(text)).length === 0
  } catch {
    return false
  }
}

/** The error codes of rules that a schema cannot express; the document must express all others. */
const FURTHER = ['invalid_task', 'invalid_payload', 'inexact_number', 'too_complex']
/** Fields with such names are never accepted, wherever they are. */
const POISON = /__proto__|prototype/

async function compare(t: Test, text: string, schema: TSchema, name: string): Promise<void> {
  const answer = await post('/api/tasks', text)
  const { code = '', errors = [] } = (await answer.json()) as { code?: string; errors?: { detail: string }[] }
  const isDescribed = fits(schema, text)
  const said = `${name} ${text.slice(0, 300)} → ${answer.status} ${code} ${JSON.stringify(errors).slice(0, 200)}, SHAPES_SEED=${seed}`
  if (answer.status < 300) t.ok(isDescribed, `accepted, but not documented: ${said}`)
  else if (isDescribed)
    t.ok(FURTHER.includes(code) || (code === 'invalid_json' && POISON.test(text)), `documented, but refused: ${said}`)
}

t.test(
  'creates of every shape are accepted only if the document allows them, and refused only by rules that a schema cannot express',
  async (t) => {
    const creates = Object.keys(schemas).filter((name) => name.endsWith('.create') || name === 'CreateDefaultTask')
    for (const name of creates) {
      for (const value of fc.sample(strangeValues(schemas[name] ?? {}), { numRuns: atDepth(40, 300), seed }))
        await compare(t, toJsonText(value), schemas['CreateTask'] ?? {}, name)
    }
  },
)

t.test('requests that the document forbids are refused', async (t) => {
  const bodies: object[] = [
    { type: 'http.request' },
    { type: 'http.request', payload: {} },
    { type: 'webhook.deliver', payload: {} },
    { type: 'demo.nothing' },
    { type: 'demo.sleep', payload: null },
    { type: null },
    { runAt: '2030-01-01T00:00:00Z', delayMs: 1 },
    { payload: { url: 'https://example.com/' } },
    { title: '' },
  ]
  for (const body of bodies) {
    t.notOk(fits(schemas['CreateTask'] ?? {}, JSON.stringify(body)), JSON.stringify(body))
    const { status } = await post('/api/tasks', JSON.stringify(body))
    t.ok(status === 400 || status === 422, `${JSON.stringify(body)} → ${status}`)
  }
})
