/** A Redis that loses its data, freezes, goes away, or delivers forged jobs. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Queue } from 'bullmq'
import t from 'tap'
import { createTasks } from '../../src/store/tasks/create.js'
import { newTask } from '../helpers/database.js'
import { atDepth } from '../helpers/depth.js'
import { startProxy } from '../helpers/proxy.js'
import { openScene, type Scene } from '../helpers/scene.js'
import { hasRedisServer, type TestScope } from '../helpers/services.js'

/** Opens BullMQ's queue as an outsider could. */
function openQueue(t: TestScope, scene: Scene): Queue {
  const { hostname: host, port, password } = new URL(scene.env['REDIS_URL'] ?? '')
  const queue = new Queue('deliveries', { prefix: '{taskwire}', connection: { host, port: Number(port), password } })
  queue.on('error', () => {})
  t.teardown(() => queue.close())
  return queue
}

if (!(await hasRedisServer())) t.comment('no redis-server on this machine: the faults of Redis are skipped')
else {
  t.setTimeout(900_000)

  /** Shared by the tests that need no other settings. The first of them leaves a worker running. */
  const shared = await openScene(t)
  await Promise.all([shared.start('web'), shared.start('relay')])
  const createQuick = (count: number) =>
    Promise.all(Array.from({ length: count }, () => shared.create({ payload: { steps: 0 } })))

  t.test('F12: the connection from a worker to Redis is frozen: its runs finish there', async (t) => {
    const line = await startProxy(t, [shared.redis?.port ?? 0])
    const frozen = await shared.start('worker', {
      REDIS_URL: shared.env['REDIS_URL']?.replace(`:${shared.redis?.port}`, `:${line.port}`) ?? '',
    })
    const ids = await Promise.all(
      Array.from({ length: 10 }, () => shared.create({ payload: { steps: 8, stepMs: 500 } })),
    )
    await shared.running(ids)
    line.freeze()
    await shared.start('worker')
    await shared.ended(ids)
    t.same(await shared.violations(ids), [])
    const twice = await shared.db.run(
      { name: 'fault_twice', text: `select 1 from taskwire.attempts where attempt > 1 and outcome = 'completed'` },
      [],
    )
    t.ok(twice.length <= ids.length)
    await frozen.kill()
  })

  t.test('F6: Redis loses all data with tasks waiting: all run, and the relay notices at once', async (t) => {
    // The claim window is too long for the test: only the epoch check can bring the tasks back.
    const scene = await openScene(t, { CLAIM_WINDOW_SECONDS: '300' })
    await Promise.all([scene.start('web'), scene.start('relay')])
    // Waits until the relay has stored the epoch of the data that is about to be lost.
    while (
      (await scene.db.run({ name: 'fault_epoch', text: `select 1 from taskwire.epochs where broker = 'redis'` }, []))
        .length === 0
    )
      await sleep(20)
    const ids = await Promise.all(
      Array.from({ length: atDepth(300, 1_000) }, () => scene.create({ payload: { steps: 0 } })),
    )
    await scene.redis?.flush()
    await scene.start('worker')
    await scene.ended(ids)
    t.same(await scene.violations(ids), [])
  })

  t.test('F6: Redis is emptied again and again while everything runs', async (t) => {
    const ids: string[] = []
    for (let round = 0; round < atDepth(4, 10); round += 1) {
      ids.push(
        ...(await Promise.all(Array.from({ length: 30 }, () => shared.create({ payload: { steps: 2, stepMs: 50 } })))),
      )
      await shared.redis?.flush()
      await sleep(100)
    }
    await shared.ended(ids)
    t.same(await shared.violations(ids), [])
  })

  t.test(
    'F5, F37: Redis is frozen, then gone for a while: creates are answered, and run when it is back',
    async (t) => {
      await shared.ended(await createQuick(1))
      await shared.redis?.pause()
      const ids = await createQuick(atDepth(100, 300))
      await shared.redis?.kill()
      ids.push(...(await createQuick(atDepth(100, 300))))
      await sleep(2_000)
      await shared.redis?.start()
      await shared.ended(ids)
      t.same(await shared.violations(ids), [])
    },
  )

  t.test('a deep backlog: Redis holds a bounded window of it, and all of it runs', async (t) => {
    const window = atDepth(100, 500)
    const scene = await openScene(t, { BROKER_WINDOW: String(window) })
    const ids: string[] = []
    for (let batch = 0; batch < atDepth(3, 8); batch += 1) {
      const tasks = Array.from({ length: 2 * window }, () => newTask({ payload: { steps: 0 } }))
      await createTasks(scene.db, tasks, 0)
      ids.push(...tasks.map(({ id }) => id))
    }
    await Promise.all([scene.start('web'), scene.start('relay'), scene.start('relay')])
    const queue = openQueue(t, scene)
    let most = 0
    for (let look = 0; look < 20 || most === 0; look += 1) {
      const { waiting = 0, prioritized = 0 } = await queue.getJobCounts('waiting', 'prioritized')
      most = Math.max(most, waiting + prioritized)
      await sleep(100)
    }
    t.ok(most <= 2 * window, `${most} jobs in Redis: a window for each relay that polled at the same time`)
    ids.push(...(await Promise.all(Array.from({ length: 50 }, () => scene.create({ payload: { steps: 0 } })))))
    await scene.start('worker')
    await scene.ended(ids)
    t.same(await scene.violations(ids), [])
  })

  t.test('F40: forged jobs run nothing', async (t) => {
    const queue = openQueue(t, shared)
    const [done = ''] = await createQuick(1)
    await shared.ended([done])
    const countTasks = () =>
      shared.db.run<{ count: number }>(
        { name: 'count_tasks', text: 'select count(*)::integer as count from taskwire.tasks' },
        [],
      )
    const [before] = await countTasks()
    const forged = [
      { taskId: done, attempt: 2 },
      { taskId: done, attempt: 1 },
      { taskId: '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10', attempt: 1 },
      { taskId: 'no id', attempt: -1 },
      { foreign: true },
    ]
    await queue.addBulk(
      Array.from({ length: 500 }, (_, index) => ({
        name: 'attempt',
        data: forged[index % forged.length] ?? {},
        opts: { priority: 5 },
      })),
    )
    const ids = await createQuick(20)
    await shared.ended(ids)
    t.same(await shared.violations([done, ...ids]), [])
    const [after] = await countTasks()
    t.equal(Number(after?.count) - Number(before?.count), 20)
  })
}
