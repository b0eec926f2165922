/**
 * Where a task can stand, and the only moves between those places: the tables are in `public/protocol.js`, which the browser reads as well.
 *
 * They are the one source: the store's conditional statements move along them, the trigger in `drizzle/` is generated from them, and the
 * README's diagram is drawn from them.
 */
import { Type } from 'typebox'
import { FINAL_STATUSES, STATUSES, TRANSITIONS, type Status as StatusName } from '../../public/protocol.js'

export { FINAL_STATUSES, isFinal, STATUSES, TRANSITIONS } from '../../public/protocol.js'

/** Where a task stands. See `TRANSITIONS` for what can follow what. */
export const Status = Type.Unsafe<StatusName>({
  type: 'string',
  enum: [...STATUSES],
  description: `Where the task stands. ${new Intl.ListFormat('en').format(FINAL_STATUSES)} are final.`,
})
export type Status = StatusName

/** The statuses a task may be created in. */
export const INITIAL_STATUSES = ['SCHEDULED', 'WAITING', 'PENDING'] as const satisfies readonly Status[]

/** Where a task can be edited: it has not started, or its next attempt has not. An edit keeps the status and makes the next version. */
export const EDITABLE_STATUSES = ['SCHEDULED', 'WAITING', 'PENDING', 'RETRYING'] as const satisfies readonly Status[]

/** Whether the table allows this move. */
export function canMove(from: Status, to: Status): boolean {
  return TRANSITIONS[from].includes(to)
}
