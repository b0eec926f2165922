/** What makes slots, in the store: one task a slot, late and overlapping slots, pauses, backfills and the code. */
import t from 'tap'
import { DEFAULT_PRINCIPAL, serviceOf } from '../../src/access/principal.js'
import { defineSchedule, type ScheduleDefinition } from '../../src/definitions/schedule.js'
import { createRegistry } from '../../src/definitions/registry.js'
import type { PutSchedule, Slot } from '../../src/protocol/schedule.js'
import { demoSleep } from '../../src/handlers/demo-sleep.js'
import { backfill, runNow, type Backfilled } from '../../src/schedules/asked-slots.js'
import { setDeclaredSchedules } from '../../src/schedules/declared-schedules.js'
import { readSchedule as readGiven } from '../../src/schedules/read-schedule.js'
import { makeDueSlots } from '../../src/schedules/slot-maker.js'
import { nextSlot } from '../../src/schedules/slots.js'
import { listSlots, readSchedule } from '../../src/store/schedules/read.js'
import { deleteOldSlots } from '../../src/store/schedules/prune.js'
import { deleteSchedule, pauseSchedule, putSchedule, resumeSchedule } from '../../src/store/schedules/write.js'
import { readTasks, readTransitions } from '../../src/store/reads/tasks.js'
import { cancelTasksIfUnfinished } from '../../src/store/tasks/cancel.js'
import { defineTask, Type } from '../../src/index.js'
import { DRIVERS, openTestDatabase } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const server = await startPostgres(t)
const db = await openTestDatabase(t, server.url)

const unique = defineTask({
  type: 'test.unique',
  title: 'Unique',
  description: 'One at a time.',
  payload: Type.Object({}),
  result: Type.Null(),
  uniqueBy: () => 'the only one',
  run: async () => null,
})
const registryWith = (...schedules: ScheduleDefinition[]) =>
  createRegistry([demoSleep, unique], demoSleep.type, [], schedules)
const registry = registryWith()

const run = <Row>(text: string) => db.run<Row>({ name: `test_${text}`.slice(0, 63), text, forceCustomPlan: true }, [])
const clock = async () => (await run<{ now: Date }>('select now() as now'))[0]?.now.getTime() ?? 0

function assertNever(what: string): never {
  throw new Error(what)
}

let count = 0
/** Sets a schedule under a new name. */
async function put(
  spec: Omit<PutSchedule, 'task'> & Partial<Pick<PutSchedule, 'task'>>,
  principal = DEFAULT_PRINCIPAL,
) {
  const name = `s${(count += 1)}`
  const schedule = readGiven(name, { task: {}, ...spec }, principal.tenant, registry)
  await putSchedule(principal, db, schedule, null, nextSlot)
  return name
}
const read = async (name: string) => (await readSchedule(DEFAULT_PRINCIPAL, db, name)) ?? assertNever(`no ${name}`)
const history = async (name: string): Promise<Slot[]> =>
  (await listSlots(DEFAULT_PRINCIPAL, db, name, { before: '9999-01-01T00:00:00Z', limit: 2_000 })).reverse()
const outcomes = async (name: string) => (await history(name)).map(({ outcome }) => outcome)
/** Makes exactly these slots due, as if nothing had made any since the first of them. */
const makeDue = (name: string, fromMs: number, toMs = fromMs) =>
  run(`
update taskwire.schedules
set next_slot = '${new Date(fromMs).toISOString()}', spec = spec || '{"endsAt": "${new Date(toMs + 1).toISOString()}"}'
where name = '${name}'`)
async function makeAll() {
  while ((await makeDueSlots(db)).hasMore);
}
async function end(taskId: string | null | undefined, status: 'COMPLETED' | 'FAILED' | 'EXPIRED' = 'COMPLETED') {
  for (const step of status === 'EXPIRED' ? ['EXPIRED'] : ['PROCESSING', status])
    await run(`update taskwire.tasks set status = '${step}', version = version + 1 where id = '${taskId}'`)
}
/** However late a slow machine is, each slot is made. */
const OFTEN = { everyMs: 30_000, catchUp: 'all' } as const
/** The last slot that has been of it. */
const lastOf = async (everyMs: number = OFTEN.everyMs) => Math.floor((await clock()) / everyMs) * everyMs

t.test('each slot makes one task, however many makers look at the same time', async (t) => {
  const pools = await Promise.all(
    Array.from({ length: 5 }, (_, index) => openTestDatabase(t, server.url, DRIVERS[index % 2])),
  )
  const names = await Promise.all(Array.from({ length: 40 }, () => put({ everyMs: 1_000, catchUp: 'all' })))
  const from = (await clock()) - 10_000
  await run(`update taskwire.schedules set next_slot = date_trunc('second', now()) - interval '10 s'`)
  for (let round = 0; round < 10; round += 1) await Promise.all(pools.map((pool) => makeDueSlots(pool)))
  const made = await run<{ schedule: string; slots: number; tasks: number; wrong: number }>(`
select h.schedule, count(*)::integer as slots, count(t.id)::integer as tasks,
  count(*) filter (where (t.schedule->>'slot')::timestamptz is distinct from h.slot or t.schedule->>'name' <> h.schedule)::integer as wrong
from taskwire.schedule_slots h left join taskwire.tasks t on t.id = h.task_id group by h.schedule`)
  t.same(made.map(({ schedule }) => schedule).sort(), [...names].sort())
  for (const { slots, tasks, wrong } of made) {
    t.ok(slots >= 10, `${slots} slots`)
    t.equal(tasks, slots)
    t.equal(wrong, 0)
  }
  const [total] = await run<{ tasks: number; slots: number }>(
    'select (select count(*)::integer from taskwire.tasks where schedule is not null) as tasks, (select count(*)::integer from taskwire.schedule_slots) as slots',
  )
  t.equal(total?.tasks, total?.slots, 'no task is left without its slot')
  const slots = await history(names[0] ?? '')
  const [, second] = await readTasks(DEFAULT_PRINCIPAL, db, [slots[0]?.taskId ?? '', slots[1]?.taskId ?? ''])
  t.same(second?.schedule, { name: names[0], slot: slots[1]?.slot, previousSlot: slots[0]?.slot })
  t.ok(Date.parse(slots[0]?.slot ?? '') >= from - 1_000)
  await run('delete from taskwire.schedules')
})

t.test('after an outage of three hours, each policy makes up for what it says', async (t) => {
  const [none, last, all, few] = await Promise.all([
    put({ cron: '*/30 * * * *', catchUp: 'none' }),
    put({ cron: '*/30 * * * *' }),
    put({ cron: '*/30 * * * *', catchUp: 'all' }),
    put({ cron: '*/30 * * * *', catchUp: 'all', maxCatchUp: 2 }),
  ])
  const last30 = Math.floor(((await clock()) - 2 * MINUTE) / (30 * MINUTE)) * 30 * MINUTE
  for (const name of [none, last, all, few]) await makeDue(name, last30 - 3 * HOUR + 1, last30)
  await makeAll()
  const each = (outcome: string, count: number) => Array.from({ length: count }, () => outcome)
  t.same(await outcomes(none), each('missed', 6))
  t.same(await outcomes(last), [...each('missed', 5), 'created'])
  t.same(await outcomes(all), each('created', 6))
  t.same(await outcomes(few), [...each('missed', 4), ...each('created', 2)])
  await run('delete from taskwire.schedules')
})

t.test('an outage of any length takes one look, and lists the newest slots', async (t) => {
  const name = await put({ everyMs: 1_000, catchUp: 'none' })
  const now = await lastOf(1_000)
  await makeDue(name, now - 300 * 24 * HOUR, now)
  await makeAll()
  const slots = await history(name)
  t.equal(slots.length, 1_000)
  t.equal(slots.at(-1)?.slot, new Date(now).toISOString())
  await run('delete from taskwire.schedules')
})

for (const [overlap, wanted] of [
  ['allow', ['created', 'created']],
  ['skip', ['created', 'overlap']],
  ['queue', ['created', 'created']],
  ['replace', ['created', 'created']],
] as const)
  t.test(`overlap: ${overlap}`, async (t) => {
    const name = await put({ ...OFTEN, overlap })
    const slot = await lastOf()
    await makeDue(name, slot - 60_000)
    await makeAll()
    await makeDue(name, slot - 30_000)
    await makeAll()
    const [first, second] = await history(name)
    t.same([first?.outcome, second?.outcome], wanted)
    const [one] = await readTasks(DEFAULT_PRINCIPAL, db, [first?.taskId ?? ''])
    t.equal(one?.status, overlap === 'replace' ? 'CANCELLED' : 'PENDING')
    if (overlap === 'replace')
      t.match((await readTransitions(DEFAULT_PRINCIPAL, db, one?.id ?? '')).at(-1), {
        reason: `replaced by the next slot of the schedule ${name}`,
      })
    if (overlap === 'queue') t.equal(one?.sequenceKey, `schedule ${name}`)
    await end(overlap === 'replace' ? second?.taskId : first?.taskId)
    await makeDue(name, slot)
    await makeAll()
    t.equal((await history(name)).at(-1)?.outcome, 'created', 'after the end of the first')
    await run('delete from taskwire.schedules')
  })

t.test('of several slots at once, skip takes the first, and replace the last', async (t) => {
  const slot = await lastOf()
  for (const [overlap, wanted] of [
    ['skip', ['created', 'overlap', 'overlap']],
    ['replace', ['overlap', 'overlap', 'created']],
  ] as const) {
    const name = await put({ ...OFTEN, overlap })
    await makeDue(name, slot - 60_000, slot)
    await makeAll()
    t.same(await outcomes(name), wanted, overlap)
  }
  await run('delete from taskwire.schedules')
})

t.test('a paused schedule makes no tasks, and says so; resumed, it goes on', async (t) => {
  const name = await put(OFTEN)
  await pauseSchedule(serviceOf('default', 'ann'), db, name, 'holidays')
  t.match((await read(name)).paused, { by: 'ann', reason: 'holidays' })
  const slot = await lastOf()
  await makeDue(name, slot)
  await makeAll()
  t.same(await outcomes(name), ['paused'])
  await resumeSchedule(DEFAULT_PRINCIPAL, db, name)
  await makeDue(name, slot - 30_000, slot)
  await makeAll()
  t.same(await outcomes(name), ['created', 'paused'], 'a slot that has been decided about stays as it is')
  t.equal((await read(name)).paused, null)
  await run('delete from taskwire.schedules')
})

t.test('it is paused when the tasks of so many slots in a row have failed', async (t) => {
  const name = await put({ ...OFTEN, pauseAfterFailures: 3 })
  const make = async (status?: 'COMPLETED' | 'FAILED' | 'EXPIRED') => {
    const { taskId } = (await runNow(DEFAULT_PRINCIPAL, db, name)) ?? {}
    if (status !== undefined) await end(taskId, status)
    return taskId
  }
  await make('FAILED')
  await make('EXPIRED')
  await make('COMPLETED')
  await make('FAILED')
  await make()
  await make('EXPIRED')
  await cancelTasksIfUnfinished(DEFAULT_PRINCIPAL, db, [(await make()) ?? ''], { reason: null, withChildren: false })
  t.equal((await read(name)).failures, 2, 'what runs and what was cancelled do not count')
  const slot = await lastOf()
  await makeDue(name, slot - 60_000)
  await makeAll()
  t.equal((await read(name)).paused, null)
  for (const { taskId, status } of await history(name)) if (status === 'PENDING') await end(taskId, 'FAILED')
  await makeDue(name, slot - 30_000)
  await makeAll()
  t.match((await read(name)).paused, { by: 'taskwire', reason: 'the tasks of the last 3 slots have failed' })
  t.match(
    (await history(name)).filter(({ outcome }) => outcome !== 'created'),
    [{ outcome: 'paused', taskId: null }],
  )
  await resumeSchedule(DEFAULT_PRINCIPAL, db, name)
  t.equal((await read(name)).failures, 0, 'a person who resumes it begins anew')
  await run('delete from taskwire.schedules')
})

t.test('spread, expiry and unique keys', async (t) => {
  const names = await Promise.all(
    Array.from({ length: 8 }, () => put({ ...OFTEN, spreadMs: HOUR, task: { expiresAfterMs: 5_000 } })),
  )
  const slot = await lastOf()
  for (const name of names) await makeDue(name, slot)
  await makeAll()
  const ids = (await Promise.all(names.map(history))).map(([first]) => first?.taskId ?? '')
  const tasks = await readTasks(DEFAULT_PRINCIPAL, db, ids)
  const offsets = tasks.map(({ runAt }) => Date.parse(runAt ?? '') - slot)
  t.ok(new Set(offsets).size > 6, `${offsets.join(' ')}`)
  for (const { runAt, expiresAt, status } of tasks) {
    t.ok(Date.parse(runAt ?? '') < slot + HOUR)
    t.equal(Date.parse(expiresAt ?? ''), Date.parse(runAt ?? '') + 5_000)
    t.equal(status, 'SCHEDULED')
  }
  const name = await put({ ...OFTEN, task: { type: unique.type } })
  await makeDue(name, slot)
  await makeAll()
  t.same((await runNow(DEFAULT_PRINCIPAL, db, name))?.taskId, null)
  t.same(await outcomes(name), ['created', 'unique'])
  await run('delete from taskwire.schedules')
})

t.test('a backfill makes the slots of a period that have no task, once', async (t) => {
  const name = await put({ cron: '0 * * * *', catchUp: 'none' })
  // Each slot is late.
  const toMs = Math.floor(((await clock()) - 2 * MINUTE) / HOUR) * HOUR
  const fromMs = toMs - 5 * HOUR
  await makeDue(name, fromMs, toMs - HOUR)
  await makeAll()
  const dates = Array.from({ length: 5 }, (_, index) => new Date(fromMs + index * HOUR).toISOString())
  const fill = async (more: object = {}) =>
    (await backfill(DEFAULT_PRINCIPAL, db, name, { fromMs, toMs, isDryRun: false, ...more })) as Exclude<
      Backfilled,
      string
    >
  t.same((({ made, items }) => ({ made, items }))(await fill({ isDryRun: true })), {
    made: 5,
    items: dates.map((slot) => ({ slot, taskId: null, isNew: true })),
  })
  t.same(
    (await outcomes(name)).slice(0, 5),
    dates.map(() => 'missed'),
    'a dry run changes nothing',
  )
  const { made, items } = await fill()
  t.equal(made, 5)
  t.same(
    items.map(({ slot }) => slot),
    dates,
  )
  const tasks = await readTasks(
    DEFAULT_PRINCIPAL,
    db,
    items.map(({ taskId }) => taskId ?? ''),
  )
  t.same(
    tasks.map(({ schedule }) => schedule?.slot),
    dates,
  )
  t.same(
    tasks.slice(1).map(({ schedule }) => schedule?.previousSlot),
    dates.slice(0, -1),
  )
  const again = await fill()
  t.equal(again.made, 0)
  t.same(
    again.items,
    items.map((item) => ({ ...item, isNew: false })),
  )
  t.equal(await backfill(DEFAULT_PRINCIPAL, db, name, { fromMs, toMs: toMs + 2 * HOUR, isDryRun: true }), 'not yet')
  t.equal(await backfill(DEFAULT_PRINCIPAL, db, 'none', { fromMs, toMs, isDryRun: true }), 'unknown')
  t.equal(
    await backfill(serviceOf('other', 'x'), db, name, { fromMs, toMs, isDryRun: true }),
    'unknown',
    'of another tenant',
  )
  await run('delete from taskwire.schedules')
})

t.test('the code and people do not overwrite each other', async (t) => {
  const nightly = defineSchedule({ name: 'nightly', cron: '0 3 * * *', task: { title: 'nightly' } })
  const other = defineSchedule({ name: 'other', everyMs: 60_000, task: { type: 'test.unique' } })
  await setDeclaredSchedules(db, registryWith(nightly, other))
  t.match(await read('nightly'), { source: 'code', code: null, setBy: 'code', cron: '0 3 * * *' })

  // A person changes one.
  const changed = readGiven('nightly', { cron: '0 5 * * *', task: { title: 'nightly' } }, 'default', registry)
  await putSchedule(serviceOf('default', 'ann'), db, changed, 'too early', nextSlot)
  await setDeclaredSchedules(db, registryWith(nightly, other))
  t.match(await read('nightly'), {
    source: 'code',
    cron: '0 5 * * *',
    setBy: 'ann',
    reason: 'too early',
    code: { cron: '0 3 * * *' },
  })

  // The code changes both.
  const later = { ...nightly, cron: '0 4 * * *' }
  await setDeclaredSchedules(db, registryWith(defineSchedule(later), defineSchedule({ ...other, everyMs: 90_000 })))
  t.match(await read('nightly'), { cron: '0 5 * * *', setBy: 'ann', code: { cron: '0 4 * * *' } })
  t.match(await read('other'), { everyMs: 90_000, code: null, setBy: 'code' })

  // A process of other code, which does not know the type of one of them.
  await setDeclaredSchedules(db, createRegistry([demoSleep], demoSleep.type))
  t.match(await read('nightly'), { source: 'api', cron: '0 5 * * *', code: null }, 'what a person has changed stays')
  t.match(await read('other'), { source: 'code' })
  await setDeclaredSchedules(db, registryWith())
  t.equal(await readSchedule(DEFAULT_PRINCIPAL, db, 'other'), undefined, 'what the code no longer defines is gone')

  await setDeclaredSchedules(db, registryWith(nightly))
  t.equal(await deleteSchedule(DEFAULT_PRINCIPAL, db, 'nightly'), 'of code')
  for (const [wrong, message] of [
    [{ name: 'x', cron: 'nonsense', task: {} }, /schedule "x": \/cron is not a cron expression/],
    [{ name: 'X y', cron: '@daily', task: {} }, /schedule "X y": \/name/],
    [{ name: 'x', cron: '@daily', task: { type: 'no.such' } }, /schedule "x": \/task\/type/],
    [{ name: 'x', cron: '@daily' }, /schedule "x": \/task is missing/],
  ] as const)
    await t.rejects(setDeclaredSchedules(db, registryWith(defineSchedule(wrong as never))), { message })
  await run('delete from taskwire.schedules')
})

t.test('a changed default of a type reaches the schedules that use it', async (t) => {
  const name = await put(OFTEN)
  const more = createRegistry([{ ...demoSleep, attempts: 7, priority: 4 }, unique], demoSleep.type)
  await setDeclaredSchedules(db, more)
  const made = await runNow(DEFAULT_PRINCIPAL, db, name)
  t.match(await readTasks(DEFAULT_PRINCIPAL, db, [made?.taskId ?? '']), [{ maxAttempts: 7, priority: 4 }])
  await run('delete from taskwire.schedules')
})

t.test('old slots are deleted, those without a task earlier', async (t) => {
  await run('delete from taskwire.schedule_slots')
  await run(`insert into taskwire.schedule_slots (schedule, slot, origin, outcome, task_id, made_at) values
    ('x', now() - interval '1 h', 'schedule', 'missed', null, now() - interval '31 days'), ('x', now() - interval '2 h', 'schedule', 'created', gen_random_uuid(), now() - interval '31 days'),
    ('x', now() - interval '3 h', 'schedule', 'created', gen_random_uuid(), now() - interval '367 days'), ('x', now() - interval '4 h', 'schedule', 'missed', null, now())`)
  t.equal(await deleteOldSlots(db, 1_000), 1, 'of each kind')
  t.same(await outcomes('x'), ['missed', 'created'])
})

t.test('a schedule whose slots cannot be made is paused, and holds up no other', async (t) => {
  const slot = await lastOf()
  const [odd, template, healthy] = await Promise.all([put(OFTEN), put(OFTEN), put(OFTEN)])
  for (const name of [odd, template, healthy]) await makeDue(name, slot)
  await run(`update taskwire.schedules set spec = '{"cron": 5, "timeZone": "Mars"}' where name = '${odd}'`)
  await run(`update taskwire.schedules set template = template || '{"priority": "high"}' where name = '${template}'`)
  await makeAll()
  t.same(await outcomes(healthy), ['created'])
  for (const name of [odd, template]) {
    t.match((await read(name)).paused, { by: 'taskwire', reason: /^its slots cannot be made: / })
    t.same(await outcomes(name), [])
  }
  const repaired = readGiven(odd, { ...OFTEN, task: {} }, 'default', registry)
  await putSchedule(DEFAULT_PRINCIPAL, db, repaired, null, nextSlot)
  t.ok((await read(odd)).nextSlot, 'set again, it goes on')
  await run('delete from taskwire.schedules')
})
