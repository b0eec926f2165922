/**
 * The whole path over real processes: POST, PostgreSQL, BullMQ, worker, pub/sub, hub, WebSocket.
 */
import t from 'tap'
import { migrateBroker } from '../../src/broker/open-broker.js'
import type { Task, Transition } from '../../src/protocol/task.js'
import { isDeep } from '../helpers/depth.js'
import { startRole } from '../helpers/roles.js'
import { hasRedisServer, startPostgres, startRedis } from '../helpers/services.js'
import { createTask, versionsOf, watch } from '../helpers/watch.js'

const brokers = (await hasRedisServer()) ? (['redis', 'postgres'] as const) : (['postgres'] as const)
if (brokers.length === 1) t.comment('no redis-server on this machine: the path over Redis is skipped')

// Many other tests run on PostgreSQL as the broker, so `npm test` takes this path on Redis only.
for (const broker of isDeep ? brokers : brokers.slice(0, 1)) {
  t.test(`three processes over ${broker}`, async (scope) => {
    const t = scope
    const postgres = await startPostgres(t)
    const redis = broker === 'redis' ? await startRedis(t) : undefined
    if (redis === undefined) await migrateBroker(postgres.url)
    const env = {
      DATABASE_URL: postgres.url,
      REDIS_URL: redis?.url ?? '',
      ATTEMPT_LEASE_SECONDS: '5',
      SHUTDOWN_GRACE_SECONDS: '0',
    }
    const [web, firstWorker] = await Promise.all([
      startRole(t, 'web', env),
      startRole(t, 'worker', env),
      startRole(t, 'relay', env),
    ])
    const { address } = web
    let worker = firstWorker
    const read = async (path: string) => (await fetch(address + path)).json()
    const history = async (id: string) => ((await read(`/api/tasks/${id}/events`)) as { items: Transition[] }).items

    t.test('a watcher sees the snapshot, each transition in order, and the end', async (t) => {
      // The worker is paused until the watcher is connected.
      worker.child.kill('SIGSTOP')
      const task = await createTask(address, { title: 'example task', payload: { steps: 3, stepMs: 100 } })
      const watcher = watch(address, task.links.stream)
      await watcher.until(({ type }) => type === 'snapshot')
      worker.child.kill('SIGCONT')
      const { messages, code } = await watcher.closed
      t.equal(code, 1000)
      t.equal(messages[0]?.type, 'snapshot')
      t.same(versionsOf(messages), [1, 2, 3])
      t.ok(
        messages.every(
          (message) => message.taskId === task.id && typeof message.status === 'string' && message.version > 0,
        ),
      )
      t.ok(messages.some((message) => message.type === 'progress' && message.progress.done === 3))
      t.match(messages.at(-1), { type: 'transition', status: 'COMPLETED', version: 3, result: { steps: 3 } })
      t.match(await read(task.links.self), { status: 'COMPLETED', version: 3, attempt: 1, result: { steps: 3 } })
    })

    t.test('a late watcher receives the final snapshot and the close', async (t) => {
      const task = await createTask(address, { payload: { steps: 0 } })
      await watch(address, task.links.stream).closed
      const { messages, code } = await watch(address, task.links.stream).closed
      t.equal(code, 1000)
      t.match(messages, [
        { type: 'snapshot', status: 'COMPLETED', version: 3, task: { id: task.id, status: 'COMPLETED' } },
      ])
    })

    t.test('a failing task ends as FAILED with its message', async (t) => {
      const task = await createTask(address, { payload: { steps: 3, stepMs: 10, failAt: 2 } })
      const { messages } = await watch(address, task.links.stream).closed
      t.match(messages.at(-1), { status: 'FAILED' })
      t.match(await read(task.links.self), { status: 'FAILED', failure: { code: 'error', message: /step 2/ } })
    })

    t.test('a stream that resumes receives what it missed, one by one', async (t) => {
      const task = await createTask(address, { payload: { steps: 0 } })
      await watch(address, task.links.stream).closed
      const { messages, code } = await watch(address, `${task.links.stream}?since=1`).closed
      t.equal(code, 1000)
      t.match(messages, [
        { type: 'resumed', version: 1, status: 'PENDING' },
        { type: 'transition', version: 2, status: 'PROCESSING' },
        { type: 'transition', version: 3, status: 'COMPLETED' },
      ])
    })

    t.test('a delayed task is SCHEDULED, then runs', async (t) => {
      const task = await createTask(address, { payload: { steps: 0 }, delayMs: 4_000 })
      t.equal(task.status, 'SCHEDULED')
      const { messages } = await watch(address, task.links.stream).closed
      t.same(
        messages.filter(({ type }) => type === 'transition').map(({ status }) => status),
        ['PENDING', 'PROCESSING', 'COMPLETED'],
      )
    })

    t.test('200 watchers of 200 tasks that attach while they run see each version once and in order', async (t) => {
      const watched = await Promise.all(
        Array.from({ length: 200 }, async (_, index) => {
          const task = await createTask(address, {
            title: `task ${index}`,
            payload: { steps: index % 4, stepMs: 20, ...(index % 10 === 9 && { failAt: 1 }) },
          })
          return { task, ...(await watch(address, task.links.stream).closed) }
        }),
      )
      for (const { task, messages, code } of watched) {
        const stored = await history(task.id)
        const [first, ...later] = messages.filter(({ type }) => type !== 'progress')
        t.equal(code, 1000)
        t.equal(first?.type, 'snapshot')
        const expected = stored.filter((transition) => transition.version > (first?.version ?? 0))
        t.same(
          later.map(
            (message) =>
              message.type === 'transition' && [
                message.version,
                message.from,
                message.status,
                message.attempt,
                message.at,
                message.reason,
              ],
          ),
          expected.map(({ version, from, status, attempt, at, reason }) => [
            version,
            from,
            status,
            attempt,
            at,
            reason,
          ]),
        )
      }
    })

    t.test('a worker that is killed loses nothing: its task is put back and runs again', async (t) => {
      const task = await createTask(address, { payload: { steps: 60, stepMs: 100 } })
      const watcher = watch(address, task.links.stream)
      await watcher.until((message) => message.type === 'progress')
      await worker.kill()
      await watcher.until((message) => message.type === 'transition' && message.status === 'PENDING')
      worker = await startRole(scope, 'worker', env)
      const { messages } = await watcher.closed
      t.same(
        (await history(task.id)).map(({ status, attempt }) => `${status} ${attempt}`),
        ['PENDING 0', 'PROCESSING 1', 'PENDING 1', 'PROCESSING 2', 'COMPLETED 2'],
      )
      t.match(messages.at(-1), { status: 'COMPLETED', attempt: 2 })
    })

    t.test('a worker that is stopped releases its task at once', async (t) => {
      const task = await createTask(address, { payload: { steps: 100, stepMs: 100 } })
      const watcher = watch(address, task.links.stream)
      await watcher.until((message) => message.type === 'progress')
      t.equal(await worker.stop(), 0)
      const back = await watcher.until((message) => message.type === 'transition' && message.status === 'PENDING')
      t.match(back, { reason: /handed back/ })
      watcher.terminate()
      worker = await startRole(scope, 'worker', env)
    })

    t.test('a web process that stops tells its watchers to reconnect', async (t) => {
      const other = await startRole(t, 'web', env)
      const task = (await createTask(other.address, { payload: { steps: 60, stepMs: 100 } })) satisfies Task
      const watcher = watch(other.address, task.links.stream)
      const { version } = await watcher.until((message) => message.status === 'PROCESSING')
      t.equal(await other.stop(), 0)
      const { code, reason } = await watcher.closed
      t.equal(code, 1012)
      t.match(reason, /retryAfterMs=\d+/)
      const { messages } = await watch(address, `${task.links.stream}?since=${version}`).closed
      t.match(messages[0], { type: 'resumed', version })
      t.match(messages.at(-1), { status: 'COMPLETED', version: version + 1 })
    })
  })
}
