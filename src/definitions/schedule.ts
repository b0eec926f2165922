/** Schedules in the code of a project. */
import type { PutSchedule } from '../protocol/schedule.js'

const MARK = Symbol.for('taskwire.schedule')

/** A schedule as the code defines it: as for `PUT /api/schedules/:name`, with its name. */
export type ScheduleDefinition = Omit<PutSchedule, 'reason'> & {
  /** Identifies it. Lower-case letters, digits, dots, underscores and hyphens, at most 100. */
  readonly name: string
}

/**
 * Defines a schedule. Export it from a module in the tasks folder. Each process that knows it sets it at its start; what a
 * person has changed meanwhile stays, and the schedule shows both.
 *
 * @example
 * export const nightly = defineSchedule({
 *   name: 'nightly-report',
 *   cron: '0 3 * * *',
 *   timeZone: 'Europe/Berlin',
 *   task: { type: 'report.generate', payload: { rows: 1_000 } },
 * })
 */
export function defineSchedule(definition: ScheduleDefinition): ScheduleDefinition {
  return Object.defineProperty({ ...definition }, MARK, { value: true })
}

/** Whether `defineSchedule` made this. */
export function isScheduleDefinition(value: unknown): value is ScheduleDefinition {
  return typeof value === 'object' && value !== null && MARK in value
}
