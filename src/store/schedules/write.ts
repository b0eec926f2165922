/** Sets, pauses and deletes schedules. Each change locks the schedule, as whatever makes its slots does. */
import type { Principal } from '../../access/principal.js'
import { retryConflicts } from '../../db/conflict.js'
import type { Database, Statement, Transaction } from '../../db/database.js'
import type { ScheduleSpec } from '../../protocol/schedule.js'
import type { TaskTemplate } from './rows.js'

/** The most schedules of a tenant. */
export const MAX_SCHEDULES = 10_000

/** A schedule to store. */
export interface NewSchedule {
  name: string
  spec: ScheduleSpec
  template: TaskTemplate
}

/** The first slot of a rule after a time; both in milliseconds since 1970. */
export type FindNext = (spec: ScheduleSpec, afterMs: number) => number | undefined

interface CurrentRow {
  spec: ScheduleSpec | null
  code: ScheduleSpec | null
  nextSlot: Date | null
  now: Date
}

const LOCK_SCHEDULE: Statement = {
  name: 'lock_schedule',
  text: `
select s.spec, s.code, s.next_slot as "nextSlot", now() as now
from (select 1) one left join lateral (
  select * from taskwire.schedules s where s.tenant = $1 and s.name = $2 for update
) s on true`,
}

const COUNT_SCHEDULES: Statement = {
  name: 'count_schedules',
  text: 'select count(*)::integer as count from (select from taskwire.schedules s where s.tenant = $1 limit $2) s',
}

export const WRITE_SCHEDULE: Statement = {
  name: 'write_schedule',
  text: `
insert into taskwire.schedules as s (tenant, name, spec, code, template, next_slot, set_by, reason)
values ($1, $2, $3::text::jsonb, $4::text::jsonb, $5::text::jsonb, $6::text::timestamptz, $7, $8)
on conflict (tenant, name) do update
set spec = excluded.spec, code = excluded.code, template = excluded.template, next_slot = excluded.next_slot, set_by = excluded.set_by,
  set_at = case when s.spec = excluded.spec and s.set_by = excluded.set_by then s.set_at else now() end, reason = excluded.reason`,
}

const RULE = ['cron', 'everyMs', 'anchor', 'at', 'timeZone', 'gap', 'startsAt', 'endsAt'] as const

/** A changed rule counts from now. With the same rule, slots that are due stay due. */
export function nextOf(current: CurrentRow, spec: ScheduleSpec, findNext: FindNext): string | null {
  const { spec: before, nextSlot, now } = current
  if (before !== null && nextSlot !== null && RULE.every((field) => before[field] === spec[field]))
    return nextSlot.toISOString()
  const next = findNext(spec, now.getTime())
  return next === undefined ? null : new Date(next).toISOString()
}

/**
 * Sets a schedule, or replaces the one of this name.
 * @returns `too many` if it would be one more than the tenant may have; nothing was changed
 */
export function putSchedule(
  principal: Principal,
  db: Database,
  { name, spec, template }: NewSchedule,
  reason: string | null,
  findNext: FindNext,
): Promise<'set' | 'too many'> {
  const { tenant, actor } = principal
  return retryConflicts(() =>
    db.transaction(async (transaction) => {
      const current = await lockSchedule(principal, transaction, name)
      if (current.spec === null && (await isFull(transaction, tenant))) return 'too many'
      const next = nextOf(current, spec, findNext)
      const code = current.code && JSON.stringify(current.code)
      const values = [tenant, name, JSON.stringify(spec), code, JSON.stringify(template), next, actor, reason]
      await transaction.run(WRITE_SCHEDULE, values)
      return 'set'
    }),
  )
}

/** The schedule as it is, locked until the transaction ends. */
export async function lockSchedule({ tenant }: Principal, transaction: Transaction, name: string): Promise<CurrentRow> {
  const [row] = await transaction.run<CurrentRow>(LOCK_SCHEDULE, [tenant, name])
  if (row === undefined) throw new Error('the database did not answer')
  return row
}

async function isFull(transaction: Transaction, tenant: string): Promise<boolean> {
  const [row] = await transaction.run<{ count: number }>(COUNT_SCHEDULES, [tenant, MAX_SCHEDULES])
  return (row?.count ?? 0) >= MAX_SCHEDULES
}

export const DELETE_SCHEDULE: Statement = {
  name: 'delete_schedule',
  text: `
with target as (
  select s.tenant, s.name, s.code is not null as is_of_code from taskwire.schedules s where s.tenant = $1 and s.name = $2 for update
), deleted as (
  delete from taskwire.schedules s using target t where s.tenant = t.tenant and s.name = t.name and not t.is_of_code
)
select t.is_of_code as "isOfCode" from target t`,
}

/**
 * Deletes a schedule. Its tasks and its history stay, so that the same slots make no second task if it is set again. One
 * that the code defines would be back at the next start.
 */
export async function deleteSchedule(
  { tenant }: Principal,
  db: Database,
  name: string,
): Promise<'deleted' | 'unknown' | 'of code'> {
  const [row] = await db.run<{ isOfCode: boolean }>(DELETE_SCHEDULE, [tenant, name])
  if (row === undefined) return 'unknown'
  return row.isOfCode ? 'of code' : 'deleted'
}

const PAUSE_SCHEDULE: Statement = {
  name: 'pause_schedule',
  text: `
update taskwire.schedules s set paused_by = $3, paused_at = now(), pause_reason = $4 where s.tenant = $1 and s.name = $2 returning 1`,
}

/** @returns whether there is one of this name */
export async function pauseSchedule(
  { tenant, actor }: Principal,
  db: Database,
  name: string,
  reason: string | null,
): Promise<boolean> {
  return (await db.run(PAUSE_SCHEDULE, [tenant, name, actor, reason])).length > 0
}

const RESUME_SCHEDULE: Statement = {
  name: 'resume_schedule',
  text: `
update taskwire.schedules s set paused_by = null, paused_at = null, pause_reason = null, resumed_at = now()
where s.tenant = $1 and s.name = $2
returning 1`,
}

/** Failures before it count no more. @returns whether there is one of this name */
export async function resumeSchedule({ tenant }: Principal, db: Database, name: string): Promise<boolean> {
  return (await db.run(RESUME_SCHEDULE, [tenant, name])).length > 0
}

const STOP_SCHEDULE: Statement = {
  name: 'stop_schedule',
  text: `
update taskwire.schedules s
set next_slot = null, paused_by = $3, paused_at = now(), pause_reason = $4
where s.tenant = $1 and s.name = $2`,
}

/** Pauses a schedule whose slots cannot be made, until it is set again. */
export async function stopSchedule(
  { tenant, actor }: Principal,
  db: Database,
  name: string,
  reason: string,
): Promise<void> {
  await db.run(STOP_SCHEDULE, [tenant, name, actor, reason])
}
