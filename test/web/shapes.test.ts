/**
 * Shapes at every position: bodies, queries, headers, messages and payloads that match their schemas except in one
 * location, which has a value of any kind of JSON, among up to fifty unknown fields. Values that violate the schema are
 * refused with 4xx; no response is 5xx; no exception is unhandled; and a watcher on another socket misses nothing.
 *
 * TypeBox's interpreter decides whether a value is valid, because the server uses compiled checks. To repeat a run, set
 * SHAPES_SEED=<seed>.
 */
import { once } from 'node:events'
import { request } from 'node:http'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import type { TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { WebSocket } from 'ws'
import { loadConfig, StartConfig } from '../../src/config.js'
import { createChecker } from '../../src/definitions/schema-errors.js'
import { ConfigError, variableName } from '../../src/environment.js'
import { createDefinitions } from '../../src/handlers/built-in.js'
import { UploadQuery } from '../../src/protocol/artifact.js'
import { CancelRequest, CreateBatch, CreateTask, EditTask } from '../../src/protocol/http.js'
import { PutLimit, PutPause, PutWeight } from '../../src/protocol/release.js'
import { DrainRequest } from '../../src/protocol/worker.js'
import { ListTasksQuery, LogsQuery, ReadTaskQuery, SelectionQuery, StreamQuery } from '../../src/protocol/queries.js'
import {
  SocketRequest,
  PingRequest,
  SubscribeByFit,
  SubscribeById,
  UnsubscribeRequest,
} from '../../src/protocol/subscription.js'
import { startApp } from '../helpers/app.js'
import { atDepth } from '../helpers/depth.js'
import { anyShape, strangeValues, toJsonText } from '../helpers/shapes.js'
import { createTask } from '../helpers/watch.js'

// Allows for the full counts on a slow machine.
t.setTimeout(900_000)

const CASES = atDepth(2_000, 20_000)
const AT_ONCE = 8
const seed = Number(process.env['SHAPES_SEED'] ?? Date.now() % 2 ** 31)
t.comment(`SHAPES_SEED=${seed}`)

const { address } = await startApp(t)
const port = Number(new URL(address).port)
const task = await createTask(address, { delayMs: 86_400_000 })

const unhandled: unknown[] = []
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  const note = (error: unknown) => void unhandled.push(error)
  process.on(event, note)
  t.teardown(() => process.off(event, note))
}

interface Case {
  name: string
  /** Whether the schema refuses it. */
  isWrong: boolean
  /** Sends the case. The status is undefined if the case was refused on a socket. */
  send(): Promise<{ status?: number; said: string }>
}

function call(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body?: string,
): Promise<{ status: number; said: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        host: '127.0.0.1',
        port,
        method,
        path,
        headers: { ...(body !== undefined && { 'content-length': String(Buffer.byteLength(body)) }), ...headers },
      },
      (answer) => {
        let said = ''
        answer
          .setEncoding('utf8')
          .on('data', (chunk: string) => (said += chunk))
          .on('end', () => resolve({ status: answer.statusCode ?? 0, said }))
      },
    )
    asked.on('error', reject)
    asked.end(body)
  })
}

const json = { 'content-type': 'application/json' }
const fits = (schema: TSchema, text: string) => {
  try {
    return Value.Check(schema, JSON.parse(text))
  } catch {
    return false
  }
}

function bodies(
  name: string,
  method: string,
  path: string,
  schema: TSchema,
  wrap = (text: string) => text,
  refused = schema,
): fc.Arbitrary<Case> {
  return fc.tuple(strangeValues(schema), fc.boolean(), fc.uuid()).map(([value, hasKey, key]) => {
    const text = toJsonText(value)
    const headers = { ...json, ...(hasKey && { 'idempotency-key': key }) }
    return {
      name: `${name} ${text.slice(0, 300)}`,
      isWrong: !fits(refused, text),
      send: () => call(method, path, headers, wrap(text)),
    }
  })
}

/** A query value counts as a number only in the notation of JavaScript; any other notation stays text. */
function fitsAsQuery(schema: TSchema, values: Record<string, string>): boolean {
  const { properties = {} } = schema as { properties?: Record<string, { type?: string }> }
  const read = ([name, text]: [string, string]) => [
    name,
    properties[name]?.type === 'integer' && String(Number(text)) === text ? Number(text) : text,
  ]
  return Value.Check(schema, Object.fromEntries(Object.entries(values).map(read)))
}

function queries(name: string, method: string, path: string, schema: TSchema): fc.Arbitrary<Case> {
  return strangeValues(schema).map((value) => {
    const given = typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : []
    // A request line is limited to 16 KB.
    const texts = given
      .map(
        ([key, part]) =>
          [key, (typeof part === 'string' ? part : toJsonText(part)).toWellFormed().slice(0, 1_000)] as [
            string,
            string,
          ],
      )
      .filter(([key]) => key.isWellFormed())
    const values = Object.fromEntries(texts)
    // This test does not measure waits, so it avoids long ones.
    if (Number(values['wait'] ?? 0) > 1) values['wait'] = '0'
    const query = new URLSearchParams(values).toString()
    return {
      name: `${name} ${query.slice(0, 300)}`,
      isWrong: !fitsAsQuery(schema, values),
      send: () => call(method, `${path}?${query}`.slice(0, 12_000), {}, method === 'POST' ? 'x' : undefined),
    }
  })
}

const HEADERS = [
  'idempotency-key',
  'prefer',
  'if-match',
  'if-none-match',
  'range',
  'if-range',
  'last-event-id',
  'accept',
  'content-type',
  'authorization',
  'x-forwarded-for',
  'expect-nothing',
  'accept-encoding',
]
const headerCases: fc.Arbitrary<Case> = fc
  .tuple(
    fc.constantFrom(...HEADERS),
    anyShape,
    fc.constantFrom(
      'GET /api/tasks',
      `GET /api/tasks/${task.id}`,
      `GET /api/tasks/${task.id}/events`,
      'POST /api/tasks',
      `PATCH /api/tasks/${task.id}`,
      'POST /api/uploads',
    ),
  )
  .map(([header, shape, route]) => {
    const [method = '', path = ''] = route.split(' ')
    const text = (typeof shape === 'string' ? shape : toJsonText(shape))
      .replaceAll(/[^\t\x20-\x7e\x80-\xff]/g, '')
      .replaceAll(/wait|event-stream|text\/plain/g, '')
      .slice(0, 5_000)
    return {
      name: `${header}: ${text.slice(0, 200)} at ${route}`,
      isWrong: false,
      send: () =>
        call(
          method,
          path,
          { ...(method !== 'GET' && json), [header]: text },
          method === 'GET' ? undefined : '{"title":"x"}',
        ),
    }
  })

const definitions = createDefinitions({ httpRequestAllowPrivate: true, emailFrom: 'a@b.c', emailDir: 'x' })
const payloads = definitions.map(({ type, payload }) =>
  bodies(
    `payload of ${type}`,
    'POST',
    '/api/tasks',
    payload,
    (text) => `{"type":"${type}","delayMs":86400000,"payload":${text}}`,
    { ...payload, default: undefined } as TSchema,
  ).map((one) => ({
    ...one,
    isWrong: one.isWrong && !fillsDefaults(payload, one.name.slice(`payload of ${type} `.length)),
  })),
)
/** Whether it is valid once the defaults of its schema are filled in. A truncated text is assumed to be valid. */
function fillsDefaults(schema: TSchema, text: string): boolean {
  try {
    return Value.Check(schema, Value.Default(schema, JSON.parse(text)))
  } catch {
    return text.length >= 300
  }
}

/** The body may be null. */
function optional(cases: fc.Arbitrary<Case>): fc.Arbitrary<Case> {
  return cases.map((one) => ({ ...one, isWrong: one.isWrong && !one.name.endsWith(' null') }))
}

const requests: fc.Arbitrary<Case>[] = [
  bodies('create', 'POST', '/api/tasks', CreateTask),
  bodies('batch', 'POST', '/api/tasks/batch', CreateBatch),
  bodies('edit', 'PATCH', `/api/tasks/${task.id}`, EditTask),
  optional(bodies('cancel', 'POST', '/api/tasks/019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10/cancel', CancelRequest)),
  // Its name is refused, so no limit is set.
  bodies('limit', 'PUT', '/api/limits/resume-x', PutLimit),
  optional(bodies('pause', 'PUT', '/api/pauses/key/x', PutPause)),
  bodies('weight', 'PUT', '/api/weights/key/x', PutWeight),
  optional(bodies('drain', 'POST', '/api/workers/unknown/drain', DrainRequest)),
  ...payloads,
  queries('list', 'GET', '/api/tasks', ListTasksQuery),
  queries('read', 'GET', `/api/tasks/${task.id}`, ReadTaskQuery),
  queries('logs', 'GET', `/api/tasks/${task.id}/logs`, LogsQuery),
  queries('events', 'GET', `/api/tasks/${task.id}/events`, StreamQuery),
  queries('selection', 'GET', '/api/tasks/events', SelectionQuery),
  queries('upload', 'POST', '/api/uploads', UploadQuery),
  headerCases,
]

/** A socket accepts fifty requests in ten seconds, so later cases use a new one. */
const USES_OF_A_SOCKET = 20
let shared: { socket: WebSocket; uses: number } | undefined
async function takeSocket(): Promise<WebSocket> {
  if (shared === undefined || shared.uses >= USES_OF_A_SOCKET || shared.socket.readyState !== WebSocket.OPEN) {
    shared?.socket.close()
    const socket = new WebSocket(`${address.replace('http', 'ws')}/ws/tasks`)
    socket.on('error', () => {})
    await once(socket, 'open')
    shared = { socket, uses: 0 }
  }
  shared.uses += 1
  return shared.socket
}

/** Sends a frame and a ping. Returns the messages before the reply to the ping, or the close code. */
async function say(frame: string): Promise<{ status?: number; said: string }> {
  const socket = await takeSocket()
  const id = `ping ${Math.random()}`
  let said = ''
  const over = new Promise<number>((resolve) => {
    socket.on('message', (data: Buffer) => {
      const text = data.toString()
      if (text.includes(id)) resolve(0)
      else said += text
    })
    socket.once('close', resolve)
  })
  socket.send(frame)
  socket.send(JSON.stringify({ type: 'ping', id }))
  const code = await over
  socket.removeAllListeners('message')
  return code === 0 ? { said } : { status: code, said }
}

const frames = [SubscribeById, SubscribeByFit, UnsubscribeRequest, PingRequest].map((schema) =>
  strangeValues(schema).map((value): Case => {
    const text = toJsonText(value)
    return { name: `frame ${text.slice(0, 300)}`, isWrong: !fits(SocketRequest, text), send: () => say(text) }
  }),
)

function sample(arbitraries: readonly fc.Arbitrary<Case>[], count: number): Case[] {
  return arbitraries.flatMap((arbitrary, index) =>
    fc.sample(arbitrary, { numRuns: Math.ceil(count / arbitraries.length), seed: seed + index }),
  )
}

/**
 * Follows tasks that are created and cancelled meanwhile. The returned function stops it and yields the received
 * versions.
 */
async function startWatcher() {
  const socket = new WebSocket(`${address.replace('http', 'ws')}/ws/tasks`)
  const heard = new Map<string, number[]>()
  socket.on('message', (data: Buffer) => {
    const { type, taskId, version } = JSON.parse(data.toString()) as { type: string; taskId?: string; version?: number }
    if (taskId !== undefined && version !== undefined && type !== 'progress' && type !== 'waiting')
      heard.set(taskId, [...(heard.get(taskId) ?? []), version])
  })
  await once(socket, 'open')
  const closed = once(socket, 'close').then(([code]) =>
    Promise.reject(new Error(`the socket of the watcher was closed with ${code}`)),
  )
  closed.catch(() => {})
  const nextMessage = () => Promise.race([once(socket, 'message'), closed])
  let isOver = false
  let count = 0
  const work = (async () => {
    while (!isOver) {
      const { id } = await createTask(address, { delayMs: 86_400_000 })
      socket.send(JSON.stringify({ type: 'subscribe', id: `w${(count += 1)}`, selection: { ids: [id] } }))
      while (!heard.has(id)) await nextMessage()
      const { status } = await call('POST', `/api/tasks/${id}/cancel`)
      if (status !== 200) throw new Error(`a cancel was answered with ${status}`)
      while (heard.get(id)?.at(-1) !== 2) await nextMessage()
      // A socket accepts fifty requests in ten seconds, so this slows down.
      await new Promise((resolve) => setTimeout(resolve, 700))
      socket.send(JSON.stringify({ type: 'unsubscribe', id: `w${count}` }))
    }
  })()
  return async () => {
    isOver = true
    await work
    socket.close()
    return [...heard.values()]
  }
}

async function runAll(t: Test, cases: readonly Case[], atOnce: number): Promise<void> {
  const waiting = [...cases]
  const wrong: string[] = []
  const run = async () => {
    for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
      const { status, said } = await one.send().catch((error: Error) => ({ status: 599, said: error.message }))
      const isRefused =
        status === undefined
          ? said.includes('"refused"')
          : status >= 400 && (status < 500 || (status >= 4_500 && status < 5_000))
      const isBroken = status !== undefined && ((status >= 500 && status < 1_000) || status === 1011 || status === 1006)
      if (isBroken || (one.isWrong && !isRefused)) wrong.push(`${one.name} → ${status ?? ''} ${said.slice(0, 300)}`)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, run))
  t.same(wrong.slice(0, 5), [], `${cases.length} cases, SHAPES_SEED=${seed}`)
  t.same(unhandled, [])
}

t.test('requests and messages of every shape are answered or refused, and do not disturb others', async (t) => {
  const stopWatching = await startWatcher()
  const healthMs: number[] = []
  let isOver = false
  const health = (async () => {
    while (!isOver) {
      const startedAtMs = performance.now()
      t.equal((await call('GET', '/healthz')).status, 200)
      healthMs.push(performance.now() - startedAtMs)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  })()
  await runAll(t, sample(requests, CASES * 0.75), AT_ONCE)
  await runAll(t, sample(frames, CASES * 0.25), 1)
  isOver = true
  await health
  const watched = await stopWatching()
  t.ok(watched.length > 0)
  for (const versions of watched) t.same(versions, [1, 2], 'the watcher on another socket received every version, once')
  healthMs.sort((a, b) => a - b)
  t.comment(
    `/healthz: median ${healthMs[Math.floor(healthMs.length / 2)]?.toFixed(1)} ms, longest ${healthMs.at(-1)?.toFixed(1)} ms, of ${healthMs.length}, with the client in the same process`,
  )
})

t.test('numbers in queries are limited, however they are written', async (t) => {
  const numbers = [
    '1e21',
    '1e+21',
    '100000000000000000000',
    '9223372036854775808',
    '9007199254740993',
    '-1',
    '1.5',
    'NaN',
    'Infinity',
    '',
    '0x10',
    '١',
    '%00',
    '%ED%A0%80',
  ]
  const places = [
    `/api/tasks/${task.id}/logs?after=`,
    `/api/tasks/${task.id}/logs?limit=`,
    '/api/tasks?limit=',
    `/api/tasks/${task.id}?wait=`,
    `/api/tasks/${task.id}?wait=1&since=`,
    `/api/tasks/${task.id}/events?since=`,
    `/api/tasks/events?ids=${task.id}&since=`,
  ]
  for (const place of places) {
    for (const number of numbers) {
      const { status } = await call('GET', place + (number.startsWith('%') ? number : encodeURIComponent(number)))
      t.equal(status, 400, place + number)
    }
  }
})

t.test('a single-task stream accepts no message, whatever its shape', async (t) => {
  for (const text of fc.sample(anyShape.map(toJsonText), { numRuns: 20, seed })) {
    const socket = new WebSocket(`${address.replace('http', 'ws')}/ws/tasks/${task.id}`)
    await once(socket, 'open')
    socket.send(text)
    const [code] = (await once(socket, 'close')) as [number]
    t.equal(code, 4500)
  }
  t.same(unhandled, [])
})

t.test('a result of any shape is valid exactly if the interpreter of the schema says so', async (t) => {
  for (const { type, result, payload } of definitions) {
    for (const schema of [result, payload]) {
      const checker = createChecker(schema)
      const values = fc.sample(
        strangeValues(schema).map((value) => JSON.parse(toJsonText(value).replaceAll('1e400', '1')) as unknown),
        { numRuns: atDepth(100, 500), seed },
      )
      const misjudged = values.filter((value) => {
        const errors = checker.check(value)
        return errors.length > 50 || (errors.length === 0) !== Value.Check(schema, value)
      })
      t.same(misjudged.slice(0, 3), [], type)
    }
  }
})

t.test('variables with any text make a configuration, or are refused by name', async (t) => {
  const texts = fc.tuple(
    fc.constantFrom(...Object.keys(StartConfig.properties)),
    fc.oneof(fc.string({ unit: 'binary' }), anyShape.map(toJsonText)),
  )
  const outcomes = fc.sample(texts, { numRuns: atDepth(500, 5_000), seed }).map(([key, text]) => {
    const name = variableName(key)
    try {
      return { name, text, outcome: typeof loadConfig('start', { [name]: text }) === 'object' ? 'taken' : 'nothing' }
    } catch (error) {
      const isNamed =
        error instanceof ConfigError &&
        error.problems.some((problem) => problem.name === name || problem.expected.includes(name))
      return { name, text, outcome: isNamed ? 'refused' : String(error) }
    }
  })
  t.same(
    outcomes.filter(({ outcome }) => outcome !== 'taken' && outcome !== 'refused').slice(0, 3),
    [],
    `SHAPES_SEED=${seed}`,
  )
  const count = (wanted: string) => outcomes.filter(({ outcome }) => outcome === wanted).length
  t.ok(count('taken') > 10 && count('refused') > 10, `${count('taken')} were taken, ${count('refused')} refused`)
})
