/**
 * The faults of the chaos run: signals to roles, servers that end or freeze, and connections that are cut, frozen or
 * slow.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import pg from 'pg'
import { startProxy, type TestProxy } from '../helpers/proxy.js'
import type { KeptRole, Role, Scene } from '../helpers/scene.js'
import type { TestScope } from '../helpers/services.js'

export type Fault = [name: string, strike: () => Promise<unknown>]

export function faultsOf(scene: Scene, roles: Record<Role, KeptRole[]>, random: () => number): Fault[] {
  const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)] as Item
  const signal = async ({ process: { child } }: KeptRole, name: NodeJS.Signals) => void child.kill(name)
  const pauseRole = async (role: Role, milliseconds: number) => {
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

/** Opens proxies to the servers, and returns the settings of a role that connects through them. */
export async function openLines(
  t: TestScope,
  { postgres, redis }: Scene,
): Promise<{ proxies: TestProxy[]; env: Record<string, string> }> {
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

export function faultsOfLines(proxies: readonly TestProxy[], random: () => number): Fault[] {
  const any = () => proxies[Math.floor(random() * proxies.length)]
  const forAWhile = async (begin: (proxy: TestProxy) => void, end: (proxy: TestProxy) => void) => {
    const proxy = any()
    if (proxy === undefined) return
    begin(proxy)
    await sleep(1_000 + random() * 3_000)
    end(proxy)
  }
  return [
    ['a connection is cut', async () => any()?.cut()],
    [
      'a connection is frozen',
      () =>
        forAWhile(
          (proxy) => proxy.freeze(),
          (proxy) => proxy.thaw(),
        ),
    ],
    [
      'a connection is slow',
      () =>
        forAWhile(
          (proxy) => proxy.delay(300),
          (proxy) => proxy.delay(0),
        ),
    ],
    [
      'a connection has little bandwidth',
      () =>
        forAWhile(
          (proxy) => proxy.throttle(20_000),
          (proxy) => proxy.throttle(Infinity),
        ),
    ],
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
  await client.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and application_name like 'taskwire%'",
  )
  await client.end()
}

async function cutSubscribers(url: string): Promise<void> {
  const client = new Redis(url)
  client.on('error', () => {})
  await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  client.disconnect()
}

/** Draws every item once, in random order, before it draws any again: so a short run has as many kinds as faults. */
export function createDeck<Item>(items: readonly Item[], random: () => number): () => Item | undefined {
  let left: Item[] = []
  return () => {
    if (left.length === 0) left = [...items]
    return left.splice(Math.floor(random() * left.length), 1)[0]
  }
}
