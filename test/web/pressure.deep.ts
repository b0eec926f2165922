/**
 * The pressure budget: offenders of every kind at the same time against one web process, with a worker and a relay
 * running.
 *
 * The web process stays under `MAX_RSS_BYTES`, every create is accepted, an empty task completes, and every offender is
 * closed. The test does not compare the time of the empty task or of the closes with a clock: machines differ, and so
 * does the load on them. The deadlines are the server's (15 s for requests, 30 s for unread responses) and have their
 * own tests: `web/deadlines`, `web/unread`. Here all offenders must be closed; otherwise the test does not end.
 *
 * A pressure is a function in `PRESSURES`: it starts its clients, and resolves with their connections. Add others
 * there.
 */
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { WebSocket } from 'ws'
import { migrateBroker } from '../../src/broker/open-broker.js'
import { openTestDatabase } from '../helpers/database.js'
import { createEmptyTask, waitForEnd } from '../helpers/processes.js'
import { openRaw, requestText, type RawClient } from '../helpers/raw-client.js'
import { startRole } from '../helpers/roles.js'
import { hasRedisServer, startPostgres, startRedis } from '../helpers/services.js'
import { startTarpit } from '../helpers/tarpits.js'

t.setTimeout(900_000)
/** The memory budget. It includes 64 MiB each for bodies and unread responses. */
const MAX_RSS_BYTES = 512_000_000
const JSON_FIELDS = { 'content-type': 'application/json' }

/** As many tasks as the queue of a busy list has: the lookups among them are the pressure. */
const STORED_TASKS = 500_000
const SUBSCRIBERS = 6
const SUBSCRIPTIONS = 49
const CALLBACKS = 300

interface Pressure {
  /** Connections that the server must close by itself. */
  offenders: RawClient[]
  /** Clients that follow the rules, however much they request: the server keeps them, and the test closes them. */
  watchers?: WebSocket[]
}

const postgres = await startPostgres(t)
const redis = (await hasRedisServer()) ? await startRedis(t) : undefined
if (redis === undefined) await migrateBroker(postgres.url)
const artifacts = await mkdtemp(join(tmpdir(), 'taskwire-pressure-'))
t.teardown(() => rm(artifacts, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }))
await fillTasks()
const tarpit = await startTarpit(t)
const env = {
  DATABASE_URL: postgres.url,
  REDIS_URL: redis?.url,
  ARTIFACTS_DIR: artifacts,
  HTTP_REQUEST_ALLOW_PRIVATE: 'true',
}
const web = await startRole(t, 'web', env)
await startRole(t, 'relay', env)
await startRole(t, 'worker', env)

const fat = await createFatTasks(200)

const PRESSURES: Record<string, () => Promise<Pressure>> = {
  'unread lists': () =>
    openMany(25, (client) => pauseAndSend(client, requestText('GET /api/tasks?limit=200').repeat(20))),
  'unread tasks': () =>
    openMany(25, (client) => pauseAndSend(client, fat.map((id) => requestText(`GET /api/tasks/${id}`)).join(''))),
  'unread streams': () =>
    openMany(25, (client) =>
      pauseAndSend(
        client,
        requestText(`GET /api/tasks/events?ids=${fat.slice(0, 100).join()}`, { accept: 'text/event-stream' }),
      ),
    ),
  'half-sent bodies': () =>
    openMany(150, (client) =>
      client.send(
        requestText(
          'POST /api/tasks/batch',
          { ...JSON_FIELDS, 'content-length': 4_000_000 },
          `{"tasks":[${' '.repeat(3_900_000)}`,
        ),
      ),
    ),
  'bodies byte by byte': () =>
    openMany(50, (client) => {
      client.send(requestText('POST /api/tasks', { ...JSON_FIELDS, 'content-length': 100_000 }))
      client.trickle(' ', 500)
    }),
  'silent connections': () => openMany(300, () => {}),
  'pipelined waits': () =>
    openMany(3, (client) => client.send(requestText(`GET /api/tasks/${fat[0]}?wait=60`).repeat(40_000))),
  'selections that no task matches': async () => ({
    offenders: [],
    watchers: await Promise.all(Array.from({ length: SUBSCRIBERS }, (_, subscriptions) => watchNothing(subscriptions))),
  }),
  'callbacks to a server that never answers': async () => {
    for (let index = 0; index < CALLBACKS; index += 1)
      await create({ payload: { steps: 0 }, callbackUrl: `http://127.0.0.1:${tarpit.port}/${index}` })
    await tarpit.holds(1)
    return { offenders: [] }
  },
}

/** Stores finished tasks with one tag. Finding some of them by any other field is expensive. */
async function fillTasks(): Promise<void> {
  const db = await openTestDatabase(t, postgres.url)
  await db.run(
    {
      name: 'test_fill',
      forceCustomPlan: true,
      deadlineMs: 600_000,
      text: `
    insert into taskwire.tasks (id, type, title, tags, status, payload)
    select ('019aa3f2-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 'demo.sleep', 'a title', '{common}', 'COMPLETED', '{}'
    from generate_series(1, ${STORED_TASKS}) i`,
    },
    [],
  )
}

/**
 * Opens subscriptions with selections that no task matches. An index serves the lookups of some; the lookups of others
 * scan every task of the tag.
 */
async function watchNothing(subscriptions: number): Promise<WebSocket> {
  const socket = new WebSocket(`${web.address.replace('http', 'ws')}/ws/tasks`)
  t.teardown(() => socket.terminate())
  await once(socket, 'open')
  let answered = 0
  const all = new Promise<void>((resolve, reject) => {
    socket.on('message', (data: Buffer) => {
      if ('id' in (JSON.parse(data.toString()) as object)) answered += 1
      if (answered === SUBSCRIPTIONS) resolve()
    })
    socket.on('close', (code) => reject(new Error(`the socket was closed with ${code}`)))
  })
  for (let index = 0; index < SUBSCRIPTIONS; index += 1) {
    const selection =
      subscriptions % 2 === 0
        ? { tag: `never-${subscriptions}-${index}` }
        : { tag: 'common', type: 'demo.sleep', status: index % 2 === 0 ? 'WAITING' : 'SCHEDULED' }
    socket.send(JSON.stringify({ type: 'subscribe', id: `${index}`, selection }))
  }
  await all
  return socket
}

/** @throws Error unless the task is accepted */
async function create(task: object): Promise<string> {
  const answer = await fetch(`${web.address}/api/tasks`, {
    method: 'POST',
    headers: JSON_FIELDS,
    body: JSON.stringify({ type: 'demo.sleep', ...task }),
  })
  if (answer.status !== 202) throw new Error(`${answer.status}: ${await answer.text()}`)
  return ((await answer.json()) as { id: string }).id
}

async function createFatTasks(count: number): Promise<string[]> {
  const ids = []
  for (let index = 0; index < count; index += 1) {
    const payload = { to: ['a@example.com'], subject: 'fat', text: 'x'.repeat(199_000) }
    ids.push(await create({ type: 'email.send', payload, delayMs: 3_600_000 }))
  }
  return ids
}

async function openMany(count: number, begin: (client: RawClient) => void): Promise<Pressure> {
  const offenders = []
  for (let index = 0; index < count; index += 1) {
    const client = await openRaw(t, web.address)
    begin(client)
    offenders.push(client)
  }
  return { offenders }
}

function pauseAndSend(client: RawClient, text: string): void {
  client.socket.pause()
  client.send(text)
}

/** Counts connections in the kernel: a client that reads nothing does not notice the close of its own. */
async function countEstablished(): Promise<number> {
  const port = Number(new URL(web.address).port).toString(16).toUpperCase().padStart(4, '0')
  const lines = (await readFile('/proc/net/tcp', 'utf8')).split('\n')
  return lines.filter((line) => new RegExp(`^ *\\d+: [0-9A-F]{8}:${port} [0-9A-F:]+ 01 `).test(line)).length
}

async function readRssBytes(): Promise<number> {
  const status = await readFile(`/proc/${web.child.pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024
}

t.test(
  'offenders of every kind together: memory is bounded, creates are accepted, and the offenders are closed',
  { timeout: 600_000 },
  async (t) => {
    const first = await openRaw(t, web.address)
    first.send(requestText(`GET /api/tasks/${fat[0]}`))
    await first.heard(/^HTTP\/1\.1 200 /)
    first.socket.destroy()
    let mostBytes = 0
    let isOver = false
    const watch = (async () => {
      while (!isOver) {
        mostBytes = Math.max(mostBytes, await readRssBytes())
        await sleep(50)
      }
    })()
    const refused: string[] = []
    const creating = (async () => {
      while (!isOver) {
        await createEmptyTask(web.address).catch((error: unknown) => refused.push(String(error)))
        await sleep(20)
      }
    })()
    const pressures = await Promise.all(
      Object.entries(PRESSURES).map(async ([name, press]) => [name, await press()] as const),
    )
    const beganAt = performance.now()
    t.equal(
      await waitForEnd(web.address, await createEmptyTask(web.address)),
      'COMPLETED',
      'an empty task completes under pressure',
    )
    t.comment(`the empty task took ${Math.round(performance.now() - beganAt)} ms`)
    const watchers = pressures.flatMap(([, { watchers = [] }]) => watchers)
    for (const [name, { offenders }] of pressures) {
      const noticing = offenders.filter(({ socket }) => !socket.isPaused())
      await Promise.all(noticing.map((client) => client.closed))
      t.same(
        noticing.filter(({ socket }) => !socket.closed),
        [],
        `closed: ${name}`,
      )
    }
    t.ok(
      watchers.every(({ readyState }) => readyState === WebSocket.OPEN),
      'a client that requests much and reads it stays connected',
    )
    // The creates of this test and the subscriptions keep their connections.
    while ((await countEstablished()) > 10 + watchers.length) await sleep(200)
    t.comment(`the offenders were closed after ${Math.round((performance.now() - beganAt) / 1_000)} s`)
    isOver = true
    await Promise.all([watch, creating])
    t.same(refused, [], 'no create is refused')
    t.comment(`peak memory of the web process: ${Math.round(mostBytes / 1e6)} MB`)
    t.ok(mostBytes < MAX_RSS_BYTES, `${Math.round(mostBytes / 1e6)} MB`)
    t.equal(
      await waitForEnd(web.address, await createEmptyTask(web.address)),
      'COMPLETED',
      'an empty task completes after the pressure, too',
    )
  },
)
