/**
 * Makes slots: their tasks and the rows of the history, in one transaction that holds the lock of the schedule. So each
 * slot makes one task, however many relays and people ask for it.
 */
import type { Principal } from '../../access/principal.js'
import type { Database, Statement, Transaction } from '../../db/database.js'
import type { SlotOrigin, SlotOutcome } from '../../protocol/schedule.js'
import type { TaskId } from '../../protocol/task.js'
import { countFailures } from './read.js'
import { SCHEDULE_COLUMNS, type ScheduleRow } from './rows.js'

const TAKE_DUE: Statement = {
  name: 'take_due_schedules',
  text: `
select ${SCHEDULE_COLUMNS}, now() as now
from taskwire.schedules s
where s.next_slot <= now()
order by s.next_slot
limit $1
for update skip locked`,
}

/** A schedule that is locked, and the time of the database. */
export type LockedSchedule = ScheduleRow & { now: Date }

/** Locks schedules that are due, but for those that others have locked. */
export function takeDueSchedules(transaction: Transaction, limit: number): Promise<LockedSchedule[]> {
  return transaction.run<LockedSchedule>(TAKE_DUE, [limit])
}

const LIST_DUE: Statement = {
  name: 'list_due_schedules',
  text: `
select s.tenant, s.name
from taskwire.schedules s
where s.next_slot <= now()
order by s.next_slot
limit $1`,
}

/** The schedules that are due, without locking them. */
export function listDueSchedules(db: Database, limit: number): Promise<{ tenant: string; name: string }[]> {
  return db.run(LIST_DUE, [limit])
}

const TAKE_SCHEDULE: Statement = {
  name: 'take_schedule',
  text: `
select ${SCHEDULE_COLUMNS}, now() as now
from taskwire.schedules s
where s.tenant = $1 and s.name = $2
for update`,
}

/** Locks one schedule. */
export async function takeSchedule(
  { tenant }: Principal,
  transaction: Transaction,
  name: string,
): Promise<LockedSchedule | undefined> {
  return (await transaction.run<LockedSchedule>(TAKE_SCHEDULE, [tenant, name]))[0]
}

/** What the history of a schedule says. */
export interface ScheduleHistory {
  /** The tasks that have not ended; at most 1,000. */
  open: TaskId[]
  /** Those of them that are not being cancelled. */
  running: TaskId[]
  /** The last slot with a task before the stretch. */
  previousSlot: string | null
  /** The slots of the stretch that have a row, each with its task if there is one. */
  known: { slot: string; taskId: TaskId | null }[]
  /** How many of the last slots in a row have failed; counted as far as `pauseAfterFailures`. */
  failures: number
}

const READ_HISTORIES: Statement = {
  name: 'read_schedule_histories',
  text: `
select o.open, o.running, p.slot as "previousSlot", k.known, case when i.max_failures is null then 0 else ${countFailures('i.max_failures')} end as failures
from rows from (json_to_recordset($1::text::json) as (tenant text, name text, from_slot timestamptz, to_slot timestamptz, max_failures integer))
  with ordinality as i (tenant, name, from_slot, to_slot, max_failures, place)
join taskwire.schedules s on s.tenant = any(array[i.tenant]) and s.name = any(array[i.name])
cross join lateral (
  select coalesce(json_agg(t.id), '[]') as open, coalesce(json_agg(t.id) filter (where t.status <> 'CANCELLING'), '[]') as running
  from (
    select h.task_id
    from taskwire.schedule_slots h
    where h.tenant = s.tenant and h.schedule = s.name and h.task_id is not null and h.ended is null
    limit 1000
  ) h, lateral (select * from taskwire.tasks t where t.id = any(array[h.task_id]) offset 0) t
) o
left join lateral (
  select h.slot
  from taskwire.schedule_slots h
  where h.tenant = s.tenant and h.schedule = s.name and h.slot < i.from_slot and h.task_id is not null
  order by h.slot desc
  limit 1
) p on true
cross join lateral (
  select coalesce(json_agg(json_build_object('slot', h.slot, 'taskId', h.task_id)), '[]') as known
  from taskwire.schedule_slots h
  where h.tenant = s.tenant and h.schedule = s.name and h.slot between i.from_slot and i.to_slot
) k
order by i.place`,
}

/** A stretch of a schedule, in milliseconds since 1970, both ends included. */
export interface Stretch {
  schedule: ScheduleRow
  fromMs: number
  toMs: number
}

/** Reads the histories of locked schedules, in the order given. */
export async function readHistories(
  transaction: Transaction,
  stretches: readonly Stretch[],
): Promise<ScheduleHistory[]> {
  const input = stretches.map(({ schedule: { tenant, name, spec }, fromMs, toMs }) => ({
    ...{ tenant, name, from_slot: new Date(fromMs), to_slot: new Date(toMs), max_failures: spec.pauseAfterFailures },
  }))
  type Row = Omit<ScheduleHistory, 'previousSlot'> & { previousSlot: Date | null }
  const rows = await transaction.run<Row>(READ_HISTORIES, [JSON.stringify(input)])
  return rows.map((row) => ({
    ...row,
    previousSlot: row.previousSlot?.toISOString() ?? null,
    known: row.known.map(({ slot, taskId }) => ({ slot: new Date(slot).toISOString(), taskId })),
  }))
}

/** A slot to write. */
export interface NewSlot {
  tenant: string
  schedule: string
  slot: string
  origin: SlotOrigin
  outcome: SlotOutcome
  taskId: TaskId | null
}

const WRITE_SLOTS: Statement = {
  name: 'write_schedule_slots',
  text: `
insert into taskwire.schedule_slots as h (tenant, schedule, slot, origin, outcome, task_id)
select r.tenant, r.schedule, r.slot, r.origin, r.outcome, r."taskId"
from json_to_recordset($1::text::json) as r (tenant text, schedule text, slot timestamptz, origin text, outcome text, "taskId" uuid)
on conflict (tenant, schedule, slot) do update
set origin = excluded.origin, outcome = excluded.outcome, task_id = excluded.task_id, made_at = now(), ended = null
where h.task_id is null
returning 1`,
}

export async function writeSlots(transaction: Transaction, slots: readonly NewSlot[]): Promise<void> {
  if (slots.length === 0) return
  const written = await transaction.run(WRITE_SLOTS, [JSON.stringify(slots)])
  // A row with a task stays. Then the others must not be committed either.
  if (written.length !== slots.length) throw new Error('a slot has a task already')
}

/** What follows for a schedule. */
export interface ScheduleMove {
  tenant: string
  name: string
  /** ISO 8601; null when there is no more. */
  nextSlot: string | null
  /** The reason, when it is paused because its tasks fail. */
  pauseReason: string | null
}

const MOVE_SCHEDULES: Statement = {
  name: 'move_schedules',
  text: `
update taskwire.schedules s
set next_slot = r."nextSlot",
  paused_by = case when r."pauseReason" is null then s.paused_by else 'taskwire' end,
  paused_at = case when r."pauseReason" is null then s.paused_at else now() end,
  pause_reason = coalesce(r."pauseReason", s.pause_reason)
from json_to_recordset($1::text::json) as r (tenant text, name text, "nextSlot" timestamptz, "pauseReason" text)
where s.tenant = any(array[r.tenant]) and s.name = any(array[r.name])`,
}

export async function moveSchedules(transaction: Transaction, moves: readonly ScheduleMove[]): Promise<void> {
  await transaction.run(MOVE_SCHEDULES, [JSON.stringify(moves)])
}
