/** Checks a period before it is used. */
import type { FieldError } from '../protocol/errors.js'

/**
 * Refuses an empty period. A period with an open end is not checked: it depends on when the task runs.
 * @param pointer the location of its end
 */
export function checkPeriod(
  { from, to }: { from?: string | undefined; to?: string | undefined },
  pointer: string,
): FieldError[] {
  if (from === undefined || to === undefined || !(Date.parse(from) >= Date.parse(to))) return []
  return [
    {
      pointer,
      detail: 'is not after the start of the period, so the period is empty',
      fix: 'Choose a later end, or an earlier start.',
    },
  ]
}
