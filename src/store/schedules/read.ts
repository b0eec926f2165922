/** Reads schedules, and the slots that have been. */
import { isDeepStrictEqual } from 'node:util'
import type { Principal } from '../../access/principal.js'
import type { Database, Statement } from '../../db/database.js'
import type { ScheduleSpec, Slot } from '../../protocol/schedule.js'
import { SLOT_COLUMNS, toSlot, type SlotRow, type StoredSchedule } from './rows.js'

interface ListedRow {
  name: string
  spec: ScheduleSpec
  code: ScheduleSpec | null
  nextSlot: Date | null
  failures: number
  pausedBy: string | null
  pausedAt: Date | null
  pauseReason: string | null
  setBy: string
  setAt: Date
  reason: string | null
  lastSlot: SlotRow | null
}

/** How many of the last slots are looked at for failures in a row. */
const MAX_FAILURES = 1_000

/**
 * SQL for the number of the last slots of schedule `s` in a row whose tasks are FAILED or EXPIRED, since it was resumed. A
 * cancelled task says nothing, and one that has not ended says nothing yet.
 */
export const countFailures = (max: string) => `(
  select count(*)::integer
  from (
    select bool_and(e.ended in ('FAILED', 'EXPIRED')) over (order by e.slot desc) as is_failing
    from (
      select h.slot, h.ended
      from taskwire.schedule_slots h
      where h.tenant = s.tenant and h.schedule = s.name and h.task_id is not null and h.ended in ('COMPLETED', 'FAILED', 'EXPIRED') and h.made_at >= s.resumed_at
      order by h.slot desc
      limit ${max}
    ) e
  ) f
  where f.is_failing
)`

const SELECT_SCHEDULES = `
select s.name, s.spec, s.code, s.next_slot as "nextSlot", s.paused_by as "pausedBy", s.paused_at as "pausedAt", s.pause_reason as "pauseReason",
  s.set_by as "setBy", s.set_at as "setAt", s.reason, ${countFailures(String(MAX_FAILURES))} as failures,
  (
    select json_build_object('slot', h.slot, 'origin', h.origin, 'outcome', h.outcome, 'madeAt', h."madeAt", 'taskId', h."taskId", 'status', h.status)
    from (select ${SLOT_COLUMNS} from taskwire.schedule_slots h where h.tenant = s.tenant and h.schedule = s.name order by h.slot desc limit 1) h
  ) as "lastSlot"
from taskwire.schedules s`

const LIST_SCHEDULES: Statement = {
  name: 'list_schedules',
  text: `${SELECT_SCHEDULES}
where s.tenant = $1 and s.name > $2
order by s.name
limit $3`,
}

/** In the order of names, from the one after `after`. */
export async function listSchedules(
  { tenant }: Principal,
  db: Database,
  { after, limit }: { after: string; limit: number },
): Promise<StoredSchedule[]> {
  return (await db.run<ListedRow>(LIST_SCHEDULES, [tenant, after, limit])).map(toStoredSchedule)
}

const READ_SCHEDULE: Statement = {
  name: 'read_schedule',
  text: `${SELECT_SCHEDULES}
where s.tenant = $1 and s.name = $2`,
}

export async function readSchedule(
  { tenant }: Principal,
  db: Database,
  name: string,
): Promise<StoredSchedule | undefined> {
  const [row] = await db.run<ListedRow>(READ_SCHEDULE, [tenant, name])
  return row && toStoredSchedule(row)
}

const LIST_SLOTS: Statement = {
  name: 'list_schedule_slots',
  text: `
select ${SLOT_COLUMNS}
from taskwire.schedule_slots h
where h.tenant = $1 and h.schedule = $2 and h.slot < $3::text::timestamptz
order by h.slot desc
limit $4`,
}

/** Newest first, from the one before `before` (ISO 8601). */
export async function listSlots(
  { tenant }: Principal,
  db: Database,
  name: string,
  { before, limit }: { before: string; limit: number },
): Promise<Slot[]> {
  return (await db.run<SlotRow>(LIST_SLOTS, [tenant, name, before, limit])).map(toSlot)
}

function toStoredSchedule(row: ListedRow): StoredSchedule {
  const { name, spec, code, nextSlot, failures, setBy, setAt, reason, lastSlot } = row
  return {
    name,
    ...spec,
    nextSlot: nextSlot?.toISOString() ?? null,
    // The slot is part of a JSON value, so its times are texts.
    lastSlot: lastSlot && toSlot({ ...lastSlot, slot: new Date(lastSlot.slot), madeAt: new Date(lastSlot.madeAt) }),
    failures,
    paused:
      row.pausedBy === null
        ? null
        : { by: row.pausedBy, at: (row.pausedAt ?? setAt).toISOString(), reason: row.pauseReason },
    source: code === null ? 'api' : 'code',
    code: code !== null && !isDeepStrictEqual(code, spec) ? code : null,
    setBy,
    setAt: setAt.toISOString(),
    reason,
  }
}
