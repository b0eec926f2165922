/**
 * F37: Redis is away for a long time. PostgreSQL carries the tasks meanwhile, streams continue, and then Redis takes
 * over again.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t from 'tap'
import { openScene } from '../helpers/scene.js'
import { hasRedisServer } from '../helpers/services.js'
import { watch } from '../helpers/watch.js'

/** Tasks run one after another; the standby checks twice a second whether Redis is back. */
const MAX_TASKS_BEFORE_RETURN = 1_000

if (!(await hasRedisServer())) t.comment('no redis-server on this machine: the standby of Redis is skipped')
else {
  t.setTimeout(900_000)

  for (const kind of ['killed', 'frozen'] as const) {
    t.test(`Redis is ${kind} for long: tasks continue, watchers follow them, and Redis takes over again`, async (t) => {
      const scene = await openScene(t)
      const { redis } = scene
      const [web] = await Promise.all([
        scene.start('web'),
        scene.start('relay'),
        scene.start('worker'),
        scene.start('worker'),
      ])
      const ids = [await scene.create({ payload: { steps: 0 } })]
      await scene.ended(ids)
      await (kind === 'killed' ? redis?.kill() : redis?.pause())
      ids.push(await scene.create({ payload: { steps: 0 } }))
      // The process is ready again: new tasks run.
      for (let isReady = false; !isReady; isReady = (await fetch(`${web.address}/readyz`)).ok) await sleep(3_500)
      const watched = await Promise.all(
        Array.from({ length: 30 }, () => scene.create({ payload: { steps: 2, stepMs: 50 } })),
      )
      ids.push(...watched)
      const watchers = watched.map((id) => watch(web.address, `/ws/tasks/${id}`))
      await scene.ended(ids)
      for (const { closed } of watchers) {
        const { code, messages } = await closed
        t.equal(code, 1000)
        t.equal(messages.at(-1)?.status, 'COMPLETED')
      }
      await (kind === 'killed' ? redis?.start() : redis?.resume())
      const client = new Redis(scene.env['REDIS_URL'] ?? '')
      t.teardown(() => client.disconnect())
      // The number of jobs ever added to the queue.
      const countJobs = async () => Number(await client.get('{taskwire}:deliveries:id'))
      const before = await countJobs()
      const later: string[] = []
      while ((await countJobs()) === before && later.length < MAX_TASKS_BEFORE_RETURN) {
        const id = await scene.create({ payload: { steps: 0 } })
        later.push(id)
        await scene.ended([id])
      }
      t.ok((await countJobs()) > before, 'Redis is used again')
      t.same(await scene.violations([...ids, ...later]), [])
    })
  }
}
