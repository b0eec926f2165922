/**
 * Each process is killed at the worst moments. Every accepted task still ends, once, and the stored data is consistent.
 */
import t from 'tap'
import { CRASH_POINTS, type CrashPoint } from '../../src/crash-point.js'
import { isDeep } from '../helpers/depth.js'
import { openScene, type Role } from '../helpers/scene.js'

const TASKS = 20
/** One crash point of each role, and the two on either side of a settlement; all of them in depth. */
const POINTS: readonly CrashPoint[] = isDeep
  ? CRASH_POINTS
  : ['create:after-commit', 'attempt:after-run', 'attempt:after-settle', 'relay:after-rescue']

const roleOf = (point: CrashPoint): Role => {
  const [step] = point.split(':')
  return step === 'create' ? 'web' : step === 'attempt' ? 'worker' : 'relay'
}

t.setTimeout(900_000)
for (const point of POINTS) {
  t.test(`killed at ${point}`, async (t) => {
    const scene = await openScene(t)
    const dying = roleOf(point)
    const env = { TASKWIRE_CRASH_AT: point }
    // A rescue needs a lost attempt first, so the worker dies, too.
    const workerEnv =
      dying === 'worker' ? env : point === 'relay:after-rescue' ? { TASKWIRE_CRASH_AT: 'attempt:after-claim' } : {}
    const [web, worker, relay] = await Promise.all([
      scene.keep('web', dying === 'web' ? env : {}),
      scene.keep('worker', workerEnv),
      scene.keep('relay', dying === 'relay' ? env : {}),
    ])
    const ids = await Promise.all(
      Array.from({ length: TASKS }, (_, index) =>
        scene.create({ payload: { steps: 1, stepMs: 20 }, ...(index % 2 === 1 && { delayMs: 200 }) }),
      ),
    )
    await scene.ended(ids)
    t.ok({ web, worker, relay }[dying].restarts > 0, `the ${dying} died`)
    t.equal(new Set(ids).size, TASKS)
    t.same(await scene.violations(ids), [])
    const rows = await scene.db.run<{ count: number }>(
      { name: 'count_tasks', text: 'select count(*)::integer as count from taskwire.tasks' },
      [],
    )
    t.same(rows, [{ count: TASKS }], 'a repeated create made no second task')
    await Promise.all([web, worker, relay].map((role) => role.stop()))
  })
}
