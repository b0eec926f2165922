/**
 * Watchers while the parts between them and PostgreSQL die: hundreds of watchers, two web processes, a worker and a relay.
 * At the end the messages of each watcher must equal the stored history: every transition once, in order.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t from 'tap'
import type { StreamMessage } from '../../src/protocol/stream.js'
import type { Transition } from '../../src/protocol/task.js'
import { atDepth } from '../helpers/depth.js'
import { persist, type PersistentWatcher } from '../helpers/persist.js'
import { startProxy } from '../helpers/proxy.js'
import { startRole, type RoleProcess } from '../helpers/roles.js'
import { hasRedisServer, startPostgres, startRedis } from '../helpers/services.js'
import { createTask } from '../helpers/watch.js'

const TASKS = atDepth(80, 200)
const WATCHERS = atDepth(200, 500)

if (!(await hasRedisServer())) {
  t.comment('no redis-server on this machine: the faults between Redis and the watchers are skipped')
} else {
  t.setTimeout(900_000)
  const postgres = await startPostgres(t)
  const redis = await startRedis(t)
  /** The connection from the first web process to Redis. */
  const line = await startProxy(t, [redis.port])
  const env = {
    DATABASE_URL: postgres.url,
    REDIS_URL: redis.url,
    CLAIM_WINDOW_SECONDS: '1',
    ATTEMPT_LEASE_SECONDS: '5',
  }
  const lineUrl = redis.url.replace(`:${redis.port}`, `:${line.port}`)
  await Promise.all([startRole(t, 'worker', env), startRole(t, 'relay', env)])
  const startWebs = () => Promise.all([startRole(t, 'web', { ...env, REDIS_URL: lineUrl }), startRole(t, 'web', env)])
  let webs: RoleProcess[] = await startWebs()
  const front = await startProxy(t, webs.map(portOf))
  const address = `http://127.0.0.1:${front.port}`
  const control = new Redis(redis.url)
  control.on('error', () => {})
  t.teardown(() => control.disconnect())

  /** Tasks that run for some seconds, partly side by side, and watchers that connect a little apart. */
  const openScene = async () => {
    const tasks = await Promise.all(
      Array.from({ length: TASKS }, (_, index) =>
        createTask(`http://127.0.0.1:${portOf(webs[index % 2])}`, {
          title: `task ${index}`,
          payload: { steps: 4, stepMs: 100 + (index % 20) * 40, ...(index % 10 === 9 && { failAt: 3 }) },
          ...(index % 5 === 4 && { delayMs: 500 + index * 10 }),
        }),
      ),
    )
    const watchers: { taskId: string; watcher: PersistentWatcher }[] = []
    for (let index = 0; index < WATCHERS; index += 1) {
      const task = tasks[index % TASKS]
      if (task) watchers.push({ taskId: task.id, watcher: persist(() => address, task.links.stream) })
      if (index % 25 === 0) await sleep(10)
    }
    return watchers
  }

  const readHistory = async (id: string) => {
    const answer = await fetch(`http://127.0.0.1:${portOf(webs[1])}/api/tasks/${id}/events`, {
      headers: { accept: 'application/json' },
    })
    return ((await answer.json()) as { items: Transition[] }).items
  }

  /** The differences between the received and the stored transitions. */
  const findDifferences = async (watchers: Awaited<ReturnType<typeof openScene>>) => {
    const histories = new Map<string, Transition[]>()
    const differences: unknown[] = []
    for (const { taskId, watcher } of watchers) {
      const code = await watcher.ended
      const stored = histories.get(taskId) ?? (await readHistory(taskId))
      histories.set(taskId, stored)
      const [first] = watcher.messages
      const expected = stored.filter(({ version }) => version > (first?.version ?? 0)).map(describeStored)
      const told = watcher.messages.filter(({ type }) => type === 'transition').map(describeTold)
      if (code !== 1000 || first?.type !== 'snapshot' || told.join() !== expected.join())
        differences.push({ taskId, code, told, expected })
    }
    return differences
  }

  const faults: [string, () => Promise<void>][] = [
    [
      'the pub/sub connections are killed again and again',
      async () => {
        for (let round = 0; round < 6; round += 1) {
          await sleep(300)
          await control.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
        }
      },
    ],
    [
      'Redis is killed, and comes back without its data',
      async () => {
        await sleep(500)
        await redis.kill()
        await sleep(1_000)
        await redis.start()
        await redis.flush()
      },
    ],
    [
      'the connection between a web process and Redis is frozen for good, without notice',
      async () => {
        await sleep(300)
        line.freeze()
      },
    ],
    [
      'clients are cut at random',
      async () => {
        line.thaw()
        for (let round = 0; round < 15; round += 1) {
          await sleep(150)
          front.cut(() => Math.random() < 0.2)
        }
      },
    ],
    [
      'both web processes are killed, one after the other, and started again',
      async () => {
        for (const index of [0, 1]) {
          await sleep(500)
          await webs[index]?.kill()
          webs[index] = await startRole(t, 'web', env)
          front.targets = webs.map(portOf)
        }
      },
    ],
    [
      'the web processes are replaced by new ones, one after the other',
      async () => {
        for (const index of [0, 1]) {
          const next = await startRole(t, 'web', env)
          const old = webs[index]
          webs = webs.with(index, next)
          front.targets = webs.map(portOf)
          await old?.stop()
          await sleep(300)
        }
      },
    ],
  ]

  for (const [what, happen] of faults) {
    t.test(`each watcher receives the stored history when ${what}`, async (t) => {
      const watchers = await openScene()
      await happen()
      const differences = await findDifferences(watchers)
      t.equal(watchers.length, WATCHERS)
      t.same(differences.slice(0, 3), [], `${differences.length} of ${WATCHERS} watchers saw another history`)
      const connections = watchers.reduce((sum, { watcher }) => sum + watcher.connections, 0)
      t.comment(`${WATCHERS} watchers, ${connections} connections`)
    })
  }
}

function portOf(web: RoleProcess | undefined): number {
  return Number(new URL(web?.address ?? '').port)
}

function describeStored({ version, from, status, attempt, at, reason }: Transition): string {
  return [version, from, status, attempt, at, reason].join(' ')
}

function describeTold(message: StreamMessage): string {
  if (message.type !== 'transition') return message.type
  const { version, from, status, attempt, at, reason } = message
  return [version, from, status, attempt, at, reason].join(' ')
}
