/** What is known of a period before it is looked at. */
import type { FieldError } from '../protocol/errors.js'

/**
 * Refuses a period that no time is in. One that has an open end is not judged: it depends on when the task runs.
 * @param pointer of its end
 */
export function checkPeriod({ from, to }: { from?: string | undefined; to?: string | undefined }, pointer: string): FieldError[] {
  if (from === undefined || to === undefined || !(Date.parse(from) >= Date.parse(to))) return []
  return [{ pointer, detail: 'is not after the start of the period: no task was created in it', fix: 'Choose a later end, or an earlier start.' }]
}
