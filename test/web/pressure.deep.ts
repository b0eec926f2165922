/**
 * The pressure budget: offenders of every kind at the same time against one web process, with a worker and a relay beside it.
 *
 * The web process stays under `MAX_RSS_BYTES`, every create is accepted, an empty task completes, and every offender is closed.
 * A pressure is a function in `PRESSURES`: it begins, and resolves with what ends it. Others are added there.
 */
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { migrateBroker } from '../../src/broker/open-broker.js'
import { migrateDatabase } from '../../src/db/migrate.js'
import { createEmptyTask, waitForEnd } from '../helpers/processes.js'
import { openRaw, requestText, type RawClient } from '../helpers/raw-client.js'
import { startRole } from '../helpers/roles.js'
import { hasRedisServer, startPostgres, startRedis } from '../helpers/services.js'

t.setTimeout(600_000)
const MAX_RSS_BYTES = 512 * 1024 * 1024
const JSON_FIELDS = { 'content-type': 'application/json' }

/** What presses on the server. */
interface Pressure {
  /** Connections that the server must close by itself. */
  offenders: RawClient[]
}

const postgres = await startPostgres(t)
const redis = (await hasRedisServer()) ? await startRedis(t) : undefined
await migrateDatabase(postgres.url)
if (redis === undefined) await migrateBroker(postgres.url)
const env = { DATABASE_URL: postgres.url, REDIS_URL: redis?.url, ARTIFACTS_DIR: join(tmpdir(), `taskwire-pressure-${process.pid}`) }
const web = await startRole(t, 'web', env)
await startRole(t, 'relay', env)
await startRole(t, 'worker', env)

const fat = await createFatTasks(200)

/** To be added by who bounds them: selections that never fit over 500,000 rows, and callbacks to a server that never answers. */
const PRESSURES: Record<string, () => Promise<Pressure>> = {
  'lists that nobody reads': () => openMany(25, (client) => pauseAndSend(client, requestText('GET /api/tasks?limit=200').repeat(20))),
  'tasks that nobody reads': () => openMany(25, (client) => pauseAndSend(client, fat.map((id) => requestText(`GET /api/tasks/${id}`)).join(''))),
  'streams that nobody reads': () =>
    openMany(25, (client) => pauseAndSend(client, requestText(`GET /api/tasks/events?ids=${fat.slice(0, 100).join()}`, { accept: 'text/event-stream' }))),
  'half-sent bodies': () =>
    openMany(150, (client) => client.send(requestText('POST /api/tasks/batch', { ...JSON_FIELDS, 'content-length': 4_000_000 }, `{"tasks":[${' '.repeat(3_900_000)}`))),
  'bodies byte by byte': () =>
    openMany(50, (client) => {
      client.send(requestText('POST /api/tasks', { ...JSON_FIELDS, 'content-length': 100_000 }))
      client.trickle(' ', 500)
    }),
  'silent connections': () => openMany(300, () => {}),
  'pipelined waits': () => openMany(3, (client) => client.send(requestText(`GET /api/tasks/${fat[0]}?wait=60`).repeat(40_000))),
}

async function createFatTasks(count: number): Promise<string[]> {
  const ids = []
  for (let index = 0; index < count; index += 1) {
    const payload = { to: ['a@example.com'], subject: 'fat', text: 'x'.repeat(199_000) }
    const body = JSON.stringify({ type: 'email.send', payload, delayMs: 3_600_000 })
    const answer = await fetch(`${web.address}/api/tasks`, { method: 'POST', headers: JSON_FIELDS, body })
    ids.push(((await answer.json()) as { id: string }).id)
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

/** One that reads nothing does not notice its end: the kernel knows. */
async function countEstablished(): Promise<number> {
  const port = Number(new URL(web.address).port).toString(16).toUpperCase().padStart(4, '0')
  const lines = (await readFile('/proc/net/tcp', 'utf8')).split('\n')
  return lines.filter((line) => new RegExp(`^ *\\d+: [0-9A-F]{8}:${port} [0-9A-F:]+ 01 `).test(line)).length
}

async function readRssBytes(): Promise<number> {
  const status = await readFile(`/proc/${web.child.pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024
}

t.test('offenders of every kind together: memory is bounded, creates are accepted, and the offenders are closed', { timeout: 600_000 }, async (t) => {
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
  const pressures = await Promise.all(Object.entries(PRESSURES).map(async ([name, press]) => [name, await press()] as const))
  t.equal(await waitForEnd(web.address, await createEmptyTask(web.address)), 'COMPLETED', 'an empty task completes under pressure')
  for (const [name, { offenders }] of pressures) {
    const closed = offenders.filter(({ socket }) => !socket.isPaused()).map((client) => client.closed)
    await Promise.all(closed)
    t.pass(`closed: ${name}`)
  }
  // What is left are the creates of this test.
  while ((await countEstablished()) > 10) await sleep(200)
  isOver = true
  await Promise.all([watch, creating])
  t.same(refused, [], 'no create is refused')
  t.comment(`the most that the web process took: ${Math.round(mostBytes / 1e6)} MB`)
  t.ok(mostBytes < MAX_RSS_BYTES, `${Math.round(mostBytes / 1e6)} MB`)
  t.equal(await waitForEnd(web.address, await createEmptyTask(web.address)), 'COMPLETED', 'and after it')
})
