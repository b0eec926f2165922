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

/** The statuses in which a task can be created. */
export const INITIAL_STATUSES = ['SCHEDULED', 'WAITING', 'PENDING'] as const satisfies readonly Status[]

/**
 * The statuses in which a task can be edited: it has not started, or its next attempt has not. An edit keeps the status
 * and adds a version.
 */
export const EDITABLE_STATUSES = ['SCHEDULED', 'WAITING', 'PENDING', 'RETRYING'] as const satisfies readonly Status[]

/** Whether the table allows this transition. */
export function canMove(from: Status, to: Status): boolean {
  return TRANSITIONS[from].includes(to)
}
