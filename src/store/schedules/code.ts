/**
 * Schedules that the code of a project defines. Each process brings those that it knows up to date when it starts, so the
 * process that started last decides.
 */
import { isDeepStrictEqual } from 'node:util'
import { CODE_PRINCIPAL, type Principal } from '../../access/principal.js'
import { toArrayLiteral } from '../../db/array-literal.js'
import { retryConflicts } from '../../db/conflict.js'
import type { Database, Statement, Transaction } from '../../db/database.js'
import type { ScheduleSpec } from '../../protocol/schedule.js'
import type { TaskTemplate } from './rows.js'
import { DELETE_SCHEDULE, lockSchedule, nextOf, WRITE_SCHEDULE, type FindNext, type NewSchedule } from './write.js'

const LIST_CODE_SCHEDULES: Statement = {
  name: 'list_code_schedules',
  text: `
select s.name, s.spec, s.code, s.template->>'type' as type, s.template
from taskwire.schedules s
where s.tenant = $1 and (s.code is not null or s.name = any($2::text::text[]))
order by s.name
for update`,
}

interface CodeRow {
  name: string
  spec: ScheduleSpec
  code: ScheduleSpec | null
  type: string
  template: TaskTemplate
}

/**
 * Brings the schedules that the code defines up to date. What a person has changed stays as it is, and shows what the
 * code says. A schedule that the code no longer defines is deleted, unless a person has changed it.
 * @param known all types of this process: the schedules of other types belong to other code
 */
export function writeCodeSchedules(
  principal: Principal,
  db: Database,
  defined: readonly NewSchedule[],
  known: readonly string[],
  findNext: FindNext,
): Promise<void> {
  const names = toArrayLiteral(defined.map(({ name }) => name))
  return retryConflicts(() =>
    db.transaction(async (transaction) => {
      const stored = await transaction.run<CodeRow>(LIST_CODE_SCHEDULES, [principal.tenant, names])
      const byName = new Map(stored.map((row) => [row.name, row]))
      for (const schedule of defined)
        await writeOfCode(principal, transaction, schedule, byName.get(schedule.name), findNext)
      const isDefined = new Set(defined.map(({ name }) => name))
      for (const row of stored)
        if (row.code !== null && known.includes(row.type) && !isDefined.has(row.name))
          await removeOfCode(principal, transaction, row)
    }),
  )
}

async function writeOfCode(
  principal: Principal,
  transaction: Transaction,
  { name, spec, template }: NewSchedule,
  stored: CodeRow | undefined,
  findNext: FindNext,
): Promise<void> {
  const { tenant, actor } = principal
  const isEdited = stored !== undefined && !isSame(stored.code, stored.spec)
  if (isEdited && !isSame(stored.code, spec)) await transaction.run(SET_CODE, [tenant, name, JSON.stringify(spec)])
  if (isEdited || (stored !== undefined && isSame(stored.spec, spec) && isSame(stored.template, template))) return
  const next = nextOf(await lockSchedule(principal, transaction, name), spec, findNext)
  const specText = JSON.stringify(spec)
  await transaction.run(WRITE_SCHEDULE, [
    ...[tenant, name, specText, specText, JSON.stringify(template)],
    ...[next, actor, null],
  ])
}

const SET_CODE: Statement = {
  name: 'set_code_of_schedule',
  text: 'update taskwire.schedules s set code = $3::text::jsonb where s.tenant = $1 and s.name = $2',
}

async function removeOfCode(
  { tenant }: Principal,
  transaction: Transaction,
  { name, code, spec }: CodeRow,
): Promise<void> {
  await transaction.run(SET_CODE, [tenant, name, null])
  if (isSame(code, spec)) await transaction.run(DELETE_SCHEDULE, [tenant, name])
}

/**
 * Sets a schedule back to what the code says.
 * @param schedule what the code says, as read before
 * @returns whether that is still so
 */
export function resetSchedule(
  principal: Principal,
  db: Database,
  { name, spec, template }: NewSchedule,
  findNext: FindNext,
): Promise<boolean> {
  return retryConflicts(() =>
    db.transaction(async (transaction) => {
      const current = await lockSchedule(principal, transaction, name)
      if (!isSame(current.code, spec)) return false
      const specText = JSON.stringify(spec)
      await transaction.run(WRITE_SCHEDULE, [
        ...[principal.tenant, name, specText, specText, JSON.stringify(template)],
        ...[nextOf(current, spec, findNext), CODE_PRINCIPAL.actor, null],
      ])
      return true
    }),
  )
}

const LIST_TEMPLATES: Statement = {
  name: 'list_schedule_templates',
  text: `
select s.tenant, s.name, s.spec, s.template
from taskwire.schedules s
where (s.tenant, s.name) > ($1, $2) and s.template->>'type' = any($3::text::text[])
order by s.tenant, s.name
limit 500`,
}

const SET_TEMPLATE: Statement = {
  name: 'set_schedule_template',
  text: `
update taskwire.schedules s set template = $3::text::jsonb where s.tenant = $1 and s.name = $2 and s.spec = $4::text::jsonb`,
}

/**
 * Brings the templates up to date with the types of this process, which may have other defaults than when the schedules
 * were set.
 * @param make undefined if the task no longer fits its type: then the template stays, and its tasks say what is wrong
 */
export async function refreshTemplates(
  db: Database,
  known: readonly string[],
  make: (tenant: string, name: string, spec: ScheduleSpec) => TaskTemplate | undefined,
): Promise<void> {
  type Row = { tenant: string; name: string; spec: ScheduleSpec; template: TaskTemplate }
  let [tenant, name] = ['', '']
  for (;;) {
    const rows = await db.run<Row>(LIST_TEMPLATES, [tenant, name, toArrayLiteral(known)])
    for (const row of rows) {
      const template = make(row.tenant, row.name, row.spec)
      if (template !== undefined && !isSame(row.template, template))
        await db.run(SET_TEMPLATE, [row.tenant, row.name, JSON.stringify(template), JSON.stringify(row.spec)])
    }
    const last = rows.at(-1)
    if (last === undefined) return
    ;[tenant, name] = [last.tenant, last.name]
  }
}

/** Compares values as JSON, in which what is undefined is missing, and the order of fields means nothing. */
function isSame(stored: unknown, given: unknown): boolean {
  return isDeepStrictEqual(stored, JSON.parse(JSON.stringify(given)))
}
