/**
 * The statuses of a task, and the only transitions between them: the tables are in `public/protocol.js`, which the
 * browser reads as well.
 *
 * They are the single source: the conditional statements of the store follow them, the trigger in `drizzle/` is
 * generated from them, and the diagram in the README is drawn from them.
 */
import { Type } from 'typebox'
import { FINAL_STATUSES, STATUSES, TRANSITIONS, type Status as StatusName } from '../../public/protocol.js'

export { isFinal, STATUSES, TRANSITIONS } from '../../public/protocol.js'

/** The status of a task. `TRANSITIONS` lists what can follow each one. */
export const Status = Type.Unsafe<StatusName>({
  type: 'string',
  enum: [...STATUSES],
  description: `The current status of the task. ${new Intl.ListFormat('en').format(FINAL_STATUSES)} are final.`,
})
export type Status = StatusName

/** The statuses from which the table allows a transition to this one. */
function statusesBefore(next: Status): readonly Status[] {
  return STATUSES.filter((status) => TRANSITIONS[status].includes(next))
}

/** The statuses in which a task can be created. */
export const INITIAL_STATUSES = ['SCHEDULED', 'WAITING', 'PENDING'] as const satisfies readonly Status[]

/** The statuses in which an attempt can start. */
export const STARTABLE_STATUSES = statusesBefore('PROCESSING')
/** The statuses in which an attempt runs. */
export const RUNNING_STATUSES = statusesBefore('COMPLETED')
/**
 * The statuses in which no attempt runs and the task has not ended. It can be edited and can expire: it has not started,
 * or its next attempt has not. An edit keeps the status and adds a version.
 */
export const IDLE_STATUSES = statusesBefore('EXPIRED')
/** The idle statuses in which the delivery of the next attempt is due at a time, and waits for nothing else. */
export const DELIVERABLE_STATUSES = IDLE_STATUSES.filter((status) => status !== 'WAITING')

const DELIVERABLE: ReadonlySet<Status> = new Set(DELIVERABLE_STATUSES)

/** Whether the task waits for its next attempt. */
export function awaitsAttempt(status: Status): boolean {
  return DELIVERABLE.has(status)
}

/** Whether the table allows this transition. */
export function canMove(from: Status, to: Status): boolean {
  return TRANSITIONS[from].includes(to)
}
