/** The line about an uncaught error of a handler, once: in the log of its run, whose lines are also the worker's. */
import type { TaskContext } from '../../definitions/definition.js'
import { LATE_STRAY, STRAY } from '../../definitions/handler-scope.js'
import type { Log } from '../../log.js'
import type { ClaimedAttempt } from '../../store/attempts/claim.js'

/** @param isOver whether the run had ended already: then the line is only in the worker's log */
export function logStray(
  error: unknown,
  isOver: boolean,
  { id: taskId, attempt, type }: ClaimedAttempt,
  context: TaskContext | undefined,
  log: Log,
): void {
  if (isOver || context === undefined) log.error({ err: error, taskId, attempt, type }, isOver ? LATE_STRAY : STRAY)
  else context.log.error({ err: error, type }, STRAY)
}
