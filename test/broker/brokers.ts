/** Opens both kinds of broker on real servers, for the tests of this folder. */
import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import postgres from 'postgres'
import type { Test } from 'tap'
import type { Broker, Delivery, EventSubscription } from '../../src/broker/broker.js'
import { migrateBroker, openBroker } from '../../src/broker/open-broker.js'
import type { TransitionMessage } from '../../src/protocol/stream.js'
import { hasRedisServer, startPostgres, startRedis, type TestScope, type TestServer } from '../helpers/services.js'

export interface BrokerKind {
  readonly kind: Broker['kind']
  readonly server: TestServer
  /** Clears the data of earlier tests, and returns the options to open a broker on the empty server. */
  prepare(): Promise<{ redisUrl?: string; databaseUrl: string }>
  /** Ends the connections that listen for events, from the server side. */
  cutListeners(): Promise<void>
  /** Counts the connections to the server, without the one that counts. */
  countConnections(): Promise<number>
}

/** Addresses where no server listens. */
export const NOWHERE = {
  redis: 'redis://:secret@127.0.0.1:1',
  postgres: 'postgres://someone:secret@127.0.0.1:1/nothing',
}

export async function startPostgresKind(t: TestScope): Promise<BrokerKind> {
  const server = await startPostgres(t)
  return {
    kind: 'postgres',
    server,
    async prepare() {
      const databaseUrl = await server.createDatabase()
      await migrateBroker(databaseUrl)
      return { databaseUrl }
    },
    async cutListeners() {
      const sql = postgres(server.url, { max: 1 })
      const cut = await sql`
        select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'taskwire-events'`
      await sql.end()
      if (cut.length === 0) throw new Error('nobody listens')
    },
    async countConnections() {
      const sql = postgres(server.url, { max: 1 })
      const others = await sql`
        select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()`
      await sql.end()
      return others.length
    },
  }
}

export async function startRedisKind(t: TestScope): Promise<BrokerKind & { flush(): Promise<void> }> {
  const server = await startRedis(t)
  return {
    kind: 'redis',
    server,
    flush: () => server.flush(),
    async prepare() {
      await server.flush()
      return { redisUrl: server.url, databaseUrl: NOWHERE.postgres }
    },
    async cutListeners() {
      const redis = new Redis(server.url)
      const cut = await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      redis.disconnect()
      if (cut === 0) throw new Error('nobody listens')
    },
    async countConnections() {
      const redis = new Redis(server.url)
      const list = String(await redis.client('LIST'))
      redis.disconnect()
      return list.trim().split('\n').length - 1
    },
  }
}

/** Whether to test on Redis. A machine without Redis skips those tests and says so; CI requires both. */
export async function canTestRedis(t: Test): Promise<boolean> {
  if (await hasRedisServer()) return true
  if (process.env['CI'] === 'true') t.fail('redis-server or valkey-server must be installed where CI=true')
  else t.comment('skipped, because this machine has no redis-server: the same suite on Redis')
  return false
}

/** Opens a broker on an empty server, and records its log. The broker closes with the test. */
export async function openTestBroker(t: TestScope, kind: BrokerKind) {
  const options = await kind.prepare()
  const log = createLog()
  const open = async () => {
    const broker = await openBroker({ ...options, log })
    t.teardown(() => broker.close())
    return broker
  }
  return { broker: await open(), openAnother: open, log, options }
}

export function createLog() {
  const lines: { message: string; details: object }[] = []
  const write = (details: object, message: string) => void lines.push({ message, details })
  return { info: write, warn: write, lines }
}

export function aDelivery(changes: Partial<Delivery> = {}): Delivery {
  return { taskId: randomUUID(), attempt: 1, queue: 'default', priority: 0, ...changes }
}

export function deliveries(count: number, changes: Partial<Delivery> = {}): Delivery[] {
  return Array.from({ length: count }, () => aDelivery(changes))
}

export function aTransition(taskId: string, version = 1, changes: Partial<TransitionMessage> = {}): TransitionMessage {
  const head = { type: 'transition', taskId, status: 'PROCESSING', version } as const
  return { ...head, from: 'PENDING', attempt: 1, at: new Date(0).toISOString(), reason: null, ...changes }
}

/** Collects items, and resolves waits once enough have arrived. */
export function createMailbox<T>() {
  const items: T[] = []
  const wake: (() => void)[] = []
  return {
    items,
    push(item: T) {
      items.push(item)
      for (const resolve of wake.splice(0)) resolve()
    },
    /** Waits until the items satisfy the condition. */
    async until(condition: (items: readonly T[]) => boolean, deadlineMs = 120_000): Promise<readonly T[]> {
      const endsAt = performance.now() + deadlineMs
      const timer = setInterval(() => wake.splice(0).forEach((resolve) => resolve()), 100)
      try {
        while (!condition(items)) {
          if (performance.now() > endsAt) throw new Error(`still ${items.length} items after ${deadlineMs} ms`)
          await new Promise<void>((resolve) => wake.push(resolve))
        }
        return items
      } finally {
        clearInterval(timer)
      }
    },
    async untilCount(count: number): Promise<readonly T[]> {
      return this.until((all) => all.length >= count)
    },
  }
}

/** Listens for events, and records everything in order of arrival. */
export async function listenWithMailbox(broker: Broker) {
  const mailbox = createMailbox<string>()
  const subscription: EventSubscription = await broker.events.listen({
    onEvent(event, json) {
      mailbox.push(json === JSON.stringify(event) ? `event ${event.taskId} ${event.version}` : 'changed')
    },
    onHint: (taskId, version) => mailbox.push(`hint ${taskId} ${version}`),
    onGap: () => mailbox.push('gap'),
  })
  return { mailbox, subscription }
}

/** Returns a task id whose events travel in the given slot. */
export function taskInSlot(slot: number): string {
  return randomUUID().slice(0, -1) + slot.toString(16)
}

/** A promise, and the function that resolves it. */
export function createGate() {
  let open: () => void = () => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { opened, open: () => open() }
}
