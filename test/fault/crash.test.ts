/**
 * Each process is killed at the worst moments. Every accepted task still ends, once, and the stored data is consistent.
 */
import t from 'tap'
import { CRASH_POINTS, type CrashPoint } from '../../src/crash-point.js'
import { isDeep } from '../helpers/depth.js'
import { openScene, type KeptRole, type Role } from '../helpers/scene.js'

const TASKS = 20
/** One crash point of each role, and the two on either side of a settlement; all of them in depth. `schedules` has its own. */
const POINTS: readonly CrashPoint[] = isDeep
  ? CRASH_POINTS.filter((point) => !point.startsWith('schedule:'))
  : ['create:after-commit', 'attempt:after-run', 'attempt:after-settle', 'relay:after-rescue']

const roleOf = (point: CrashPoint): Role => {
  const [step] = point.split(':')
  return step === 'create' ? 'web' : step === 'attempt' ? 'worker' : 'relay'
}

t.setTimeout(900_000)
const scene = await openScene(t)
/** The processes that run now. Those that no crash point replaces live on for the next test. */
const running = new Map<Role, KeptRole>()

/** Replaces a role by one that dies at this point, once. */
async function replace(role: Role, point: CrashPoint): Promise<void> {
  await running.get(role)?.stop()
  running.set(role, await scene.keep(role, { TASKWIRE_CRASH_AT: point }))
}

for (const point of POINTS) {
  t.test(`killed at ${point}`, async (t) => {
    const dying = roleOf(point)
    // A rescue needs a lost attempt first, so the worker dies, too.
    if (point === 'relay:after-rescue') await replace('worker', 'attempt:after-claim')
    await replace(dying, point)
    for (const role of ['web', 'worker', 'relay'] as const)
      if (!running.has(role)) running.set(role, await scene.keep(role))
    const countBefore = await countTasks()
    const ids = await Promise.all(
      Array.from({ length: TASKS }, (_, index) =>
        scene.create({ payload: { steps: 1, stepMs: 20 }, ...(index % 2 === 1 && { delayMs: 200 }) }),
      ),
    )
    await scene.ended(ids)
    t.ok(Number(running.get(dying)?.restarts) > 0, `the ${dying} died`)
    t.equal(new Set(ids).size, TASKS)
    t.same(await scene.violations(ids), [])
    t.equal((await countTasks()) - countBefore, TASKS, 'a repeated create made no second task')
  })
}

async function countTasks(): Promise<number> {
  const [row] = await scene.db.run<{ count: number }>(
    { name: 'count_tasks', text: 'select count(*)::integer as count from taskwire.tasks' },
    [],
  )
  return row?.count ?? 0
}
