/**
 * The chaos run: several copies of each role under load, with watchers, while a seeded schedule of faults goes over them.
 * Then a checker compares what clients were promised and told with what is stored, and with what a real receiver got.
 *
 * The schedule is the seed's; when exactly each fault strikes is not, so a seed makes a run alike, not equal.
 */
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Redis } from 'ioredis'
import { isFinal } from '../../src/protocol/status.js'
import type { StreamMessage } from '../../src/protocol/stream.js'
import { findViolations, groupByTask, readStored, type StoredTransition } from '../helpers/history.js'
import { persist, type PersistentWatcher } from '../helpers/persist.js'
import { OWN_TASKS } from '../helpers/processes.js'
import { startProxy, type TestProxy } from '../helpers/proxy.js'
import { openScene, type KeptRole, type Scene } from '../helpers/scene.js'
import type { TestScope } from '../helpers/services.js'

export interface ChaosOptions {
  seed: number
  /** How long faults strike, in seconds. */
  seconds: number
  /** Tasks created a second. Default 20. */
  rate?: number
  /** Told of each fault as it strikes. */
  onFault?: (name: string) => void
}

export interface ChaosReport {
  tasks: number
  watchers: number
  transitions: number
  faults: Record<string, number>
  /** Processes that died and were started again. */
  restarts: number
  /** From the last fault to the end of the last task. */
  settledMs: number
  /** Requests that the receiver got, and how many of them it had had before: those of the window that `once` leaves. */
  effects: { wanted: number; distinct: number; repeated: number }
  violations: string[]
}

const COPIES = 2
const SETTLE_MS = 120_000
/** Every so many-th task has a watcher. */
const WATCH_EVERY = 3

export async function runChaos(t: TestScope, { seed, seconds, rate = 20, onFault }: ChaosOptions): Promise<ChaosReport> {
  const random = createRandom(seed)
  const scene = await openScene(t, { HTTP_REQUEST_ALLOW_PRIVATE: 'true', TASKS_DIR: OWN_TASKS, ATTEMPT_LEASE_SECONDS: '4', MAX_LOST_ATTEMPTS: '50' })
  const sink = await openSink(t)
  const lines = await openLines(t, scene)
  const roles: Record<'web' | 'worker' | 'relay', KeptRole[]> = { web: [], worker: [], relay: [] }
  for (const role of ['web', 'worker', 'relay'] as const) {
    // One copy of each has its servers at the end of lines that can be cut, frozen and slowed down.
    for (let copy = 0; copy < COPIES; copy += 1) roles[role].push(await scene.keep(role, {}, copy === 0 ? {} : lines.env))
  }

  const accepted: string[] = []
  const requests: string[] = []
  const watchers: { id: string; watcher: PersistentWatcher }[] = []
  const creating = new Set<Promise<void>>()
  let isLoading = true
  const createOne = async (index: number) => {
    const kind = Math.floor(random() * 10)
    const isRequest = kind >= 8
    const id = await scene.create(
      isRequest
        ? { type: 'http.request', payload: { url: sink.url, method: 'POST', body: { index } } }
        : kind === 5
          ? { type: 'test.flaky', payload: { failures: 2 } }
          : { payload: { steps: 1 + (kind % 4), stepMs: 30 + kind * 20, ...(kind === 7 && { failAt: 1 }) }, ...(kind === 6 && { delayMs: 500 }) },
    )
    accepted.push(id)
    if (kind === 4 && index % 2 === 0) cancelLater(id)
    if (isRequest) requests.push(id)
    if (index % WATCH_EVERY !== 0) return
    let turn = index
    const address = () => scene.addresses()[turn++ % COPIES] ?? ''
    watchers.push({ id, watcher: persist(address, `/ws/tasks/${id}`) })
  }
  /** Whatever it is doing by then; that the request arrives is not promised. */
  const cancelLater = (id: string) => {
    void sleep(random() * 300).then(() => fetch(`${scene.addresses()[0]}/api/tasks/${id}/cancel`, { method: 'POST', signal: AbortSignal.timeout(5_000) }).catch(() => {}))
  }
  const load = (async () => {
    for (let index = 0; isLoading; index += 1) {
      const created: Promise<void> = createOne(index).finally(() => creating.delete(created))
      creating.add(created)
      await sleep(1_000 / rate)
    }
  })()

  const faults = [...faultsOf(scene, roles, random), ...faultsOfLines(lines.proxies, random)]
  const counts: Record<string, number> = {}
  const endsAtMs = performance.now() + seconds * 1_000
  while (performance.now() < endsAtMs) {
    await sleep(300 + random() * 1_700)
    const [name, strike] = faults[Math.floor(random() * faults.length)] ?? faults[0] ?? ['', async () => {}]
    counts[name] = (counts[name] ?? 0) + 1
    onFault?.(name)
    await strike()
  }
  isLoading = false
  const lastFaultAtMs = performance.now()
  await load
  await Promise.all(creating)

  const violations: string[] = []
  await scene.ended(accepted, SETTLE_MS).catch((error: unknown) => violations.push(String(error)))
  const settledMs = performance.now() - lastFaultAtMs
  const stored = await readStored(scene.db)
  violations.push(...findViolations(stored, accepted), ...(await checkWatchers(watchers, stored.transitions)))
  const completed = new Set(stored.tasks.filter(({ status }) => status === 'COMPLETED').map(({ id }) => id))
  const effects = sink.count(requests)
  for (const id of requests) if (completed.has(id) && !sink.has(id)) violations.push(`${id} has COMPLETED, and its request never arrived`)
  for (const id of requests) if (!completed.has(id)) violations.push(`${id} should have COMPLETED`)
  const kept = Object.values(roles).flat()
  await Promise.all(kept.map((role) => role.stop()))
  return {
    ...{ tasks: accepted.length, watchers: watchers.length, transitions: stored.transitions.length, faults: counts },
    restarts: kept.reduce((sum, { restarts }) => sum + restarts, 0),
    ...{ settledMs: Math.round(settledMs), effects, violations },
  }
}

type Fault = [name: string, strike: () => Promise<void>]

function faultsOf(scene: Scene, roles: Record<'web' | 'worker' | 'relay', KeptRole[]>, random: () => number): Fault[] {
  const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)] as Item
  const signal = async ({ process: { child } }: KeptRole, name: NodeJS.Signals) => void child.kill(name)
  const pauseRole = async (role: 'web' | 'worker' | 'relay', milliseconds: number) => {
    const { child } = pick(roles[role]).process
    child.kill('SIGSTOP')
    await sleep(milliseconds)
    child.kill('SIGCONT')
  }
  const faults: Fault[] = [
    ['SIGKILL worker', () => signal(pick(roles.worker), 'SIGKILL')],
    ['SIGKILL web', () => signal(pick(roles.web), 'SIGKILL')],
    ['SIGKILL relay', () => signal(pick(roles.relay), 'SIGKILL')],
    ['SIGTERM any', () => signal(pick(pick(Object.values(roles))), 'SIGTERM')],
    ['SIGSTOP worker past its lease', () => pauseRole('worker', 5_500)],
    ['SIGSTOP web', () => pauseRole('web', 1_500)],
    ['PostgreSQL loses power', () => restart(scene.postgres, 200 + random() * 1_000)],
    ['PostgreSQL cuts every connection', () => cutConnections(scene.postgres.url)],
    ['PostgreSQL is frozen', () => freeze(scene.postgres, 1_000 + random() * 3_000)],
  ]
  const { redis } = scene
  if (redis === undefined) return faults
  return [
    ...faults,
    ['FLUSHALL', () => redis.flush()],
    ['Redis is killed', () => restart(redis, 200 + random() * 3_000)],
    ['Redis is frozen', () => freeze(redis, 1_000 + random() * 3_000)],
    ['pub/sub is cut', () => cutSubscribers(redis.url)],
  ]
}

/** Lines to the servers, and the settings of a role that uses them. */
async function openLines(t: TestScope, { postgres, redis }: Scene): Promise<{ proxies: TestProxy[]; env: Record<string, string> }> {
  const through = async (url: string) => {
    const { port } = new URL(url)
    const proxy = await startProxy(t, [Number(port)])
    return { proxy, url: url.replace(`:${port}`, `:${proxy.port}`) }
  }
  const toPostgres = await through(postgres.url)
  if (redis === undefined) return { proxies: [toPostgres.proxy], env: { DATABASE_URL: toPostgres.url } }
  const toRedis = await through(redis.url)
  return { proxies: [toPostgres.proxy, toRedis.proxy], env: { DATABASE_URL: toPostgres.url, REDIS_URL: toRedis.url } }
}

function faultsOfLines(proxies: readonly TestProxy[], random: () => number): Fault[] {
  const any = () => proxies[Math.floor(random() * proxies.length)]
  const forAWhile = async (begin: (proxy: TestProxy) => void, end: (proxy: TestProxy) => void) => {
    const proxy = any()
    if (proxy === undefined) return
    begin(proxy)
    await sleep(1_000 + random() * 3_000)
    end(proxy)
  }
  return [
    ['a line is cut', async () => any()?.cut()],
    ['a line is frozen', () => forAWhile((proxy) => proxy.freeze(), (proxy) => proxy.thaw())],
    ['a line is slow', () => forAWhile((proxy) => proxy.delay(300), (proxy) => proxy.delay(0))],
    ['a line is narrow', () => forAWhile((proxy) => proxy.throttle(20_000), (proxy) => proxy.throttle(Infinity))],
  ]
}

interface Server {
  kill(): Promise<void>
  start(): Promise<void>
  pause(): Promise<void>
  resume(): Promise<void>
}

async function restart(server: Server, downMs: number): Promise<void> {
  await server.kill()
  await sleep(downMs)
  await server.start()
}

async function freeze(server: Server, milliseconds: number): Promise<void> {
  await server.pause()
  await sleep(milliseconds)
  await server.resume()
}

async function cutConnections(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  await client.query("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and application_name like 'taskwire%'")
  await client.end()
}

async function cutSubscribers(url: string): Promise<void> {
  const client = new Redis(url)
  client.on('error', () => {})
  await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  client.disconnect()
}

/** A receiver that counts what it gets by key. */
async function openSink(t: TestScope) {
  const counts = new Map<string, number>()
  const server = createServer((request, response) => {
    // `"<task>:request"`
    const id = String(request.headers['idempotency-key']).replace(/^"|:request"$/g, '')
    counts.set(id, (counts.get(id) ?? 0) + 1)
    request.resume().on('end', () => response.end('thanks'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    has: (id: string) => counts.has(id),
    count(wanted: readonly string[]) {
      const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
      return { wanted: wanted.length, distinct: counts.size, repeated: total - counts.size }
    },
  }
}

/** Each watcher must have been told every transition after its first message, once and in order, and then the end. */
async function checkWatchers(watchers: readonly { id: string; watcher: PersistentWatcher }[], transitions: readonly StoredTransition[]): Promise<string[]> {
  const histories = groupByTask(transitions)
  const found = await Promise.all(
    watchers.map(async ({ id, watcher }) => {
      const code = await Promise.race([watcher.ended, sleep(30_000, 'nothing', { ref: false })])
      const [first, ...rest] = watcher.messages
      const told = rest.filter(({ type }) => type === 'transition').map(describe)
      const expected = (histories.get(id) ?? []).filter(({ version }) => version > (first?.version ?? 0)).map(describe)
      const hasEnded = first !== undefined && isFinal((watcher.messages.at(-1) ?? first).status)
      if (code === 1000 && first?.type === 'snapshot' && hasEnded && told.join() === expected.join()) return []
      return [`the watcher of ${id} (closed with ${code}) was told ${first?.type} ${first?.version}, ${told.join()}; stored is ${expected.join()}`]
    }),
  )
  return found.flat()
}

function describe({ version, status }: StoredTransition | StreamMessage): string {
  return `${version} ${status}`
}

/** mulberry32, a small generator with 32 bits of state. */
function createRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
