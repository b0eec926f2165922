/**
 * Relays that are killed at any moment, and one whose clock is wrong: each slot makes one task, and each task ends.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { atDepth } from '../helpers/depth.js'
import { openScene } from '../helpers/scene.js'

const SCHEDULES = 5
const SLOTS = atDepth(8, 60)
const INTERVAL_MS = 1_000

t.setTimeout(900_000)
const scene = await openScene(t)

/** A module that sets the clock of its process ahead. */
const aheadOfTime = join(t.testdir({}), 'ahead.mjs')
writeFileSync(
  aheadOfTime,
  `const Real = Date
globalThis.Date = class extends Real {
  constructor(...given) { given.length === 0 ? super(Real.now() + 30_000) : super(...given) }
  static now() { return Real.now() + 30_000 }
}`,
)

interface Counts {
  schedule: string
  slots: number
  /** From the first to the last one. */
  seconds: number
  tasks: number
  distinct: number
}

const count = () =>
  scene.db.run<Counts>(
    {
      name: 'count_slots',
      text: `
select h.schedule, count(*)::integer as slots, (extract(epoch from max(h.slot) - min(h.slot)) + 1)::integer as seconds,
  count(h.task_id)::integer as tasks, count(distinct h.task_id)::integer as distinct
from taskwire.schedule_slots h group by h.schedule order by h.schedule`,
    },
    [],
  )
const run = <Row>(name: string, text: string) => scene.db.run<Row>({ name, text }, [])

t.test('each slot makes one task while relays die, and all tasks end', async (t) => {
  const roles = await Promise.all([
    scene.keep('relay', { TASKWIRE_CRASH_AT: 'schedule:before-commit' }),
    scene.keep('relay', { TASKWIRE_CRASH_AT: 'schedule:after-commit' }),
    scene.keep('relay', {}, { NODE_OPTIONS: `--import=${aheadOfTime}` }),
    scene.keep('worker'),
    scene.keep('web'),
  ])
  const relays = roles.slice(0, 3)
  const [address = ''] = scene.addresses()
  for (let index = 0; index < SCHEDULES; index += 1) {
    const answer = await fetch(`${address}/api/schedules/s${index}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        everyMs: INTERVAL_MS,
        catchUp: 'all',
        maxCatchUp: 1_000,
        task: { payload: { steps: 1, stepMs: 10 } },
      }),
    })
    t.equal(answer.status, 200)
  }
  for (let turn = 0; ; turn += 1) {
    const counts = await count()
    const isEnough = counts.length === SCHEDULES && counts.every(({ slots }) => slots >= SLOTS)
    if (isEnough && relays.every(({ restarts }) => restarts > 0)) break
    await relays[turn % relays.length]?.process.kill()
    await sleep(700)
  }
  await run('end_schedules', 'update taskwire.schedules set next_slot = null')
  for (const { schedule, slots, seconds, tasks, distinct } of await count()) {
    t.equal(slots, seconds, `${schedule}: no slot is missing`)
    t.equal(tasks, slots, `${schedule}: each has a task`)
    t.equal(distinct, slots, `${schedule}: of its own`)
  }
  const made = await run<{ id: string }>('made_tasks', 'select id from taskwire.tasks where schedule is not null')
  t.equal(
    made.length,
    (await count()).reduce((sum, { slots }) => sum + slots, 0),
    'no task is without a slot',
  )
  await scene.ended(made.map(({ id }) => id))
  t.same(await scene.violations(made.map(({ id }) => id)), [])
  const [open] = await run<{ open: number }>(
    'open_slots',
    'select count(*)::integer as open from taskwire.schedule_slots where ended is null',
  )
  t.equal(open?.open, 0, 'the history knows how each has ended')
  await Promise.all(roles.map((role) => role.stop()))
})
