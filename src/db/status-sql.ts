/** Statuses as SQL text. Conditions are made from the lists in `protocol/status.ts`, so that no list is written twice. */
import type { Status } from '../protocol/status.js'

/** A status as an SQL literal. */
export function asStatus(status: Status): string {
  return `'${status}'::taskwire.task_status`
}

/** The right side of `status in (…)`. */
export function inStatuses(statuses: readonly Status[]): string {
  return `in (${statuses.map((status) => `'${status}'`).join(', ')})`
}
