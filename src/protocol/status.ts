/**
 * The statuses of a task, and the only transitions between them.
 *
 * This table is the single source: the conditional statements of the store follow it, the trigger in `drizzle/` is
 * generated from it, the diagram in the README is drawn from it, and the browser client derives `isFinal` from it.
 */
import { Type, type Static } from 'typebox'

export const STATUSES = [
  'SCHEDULED',
  'WAITING',
  'PENDING',
  'PROCESSING',
  'RETRYING',
  'CANCELLING',
  'COMPLETED',
  'FAILED',
  'CANCELLED',
  'EXPIRED',
] as const

/** The status of a task. `TRANSITIONS` lists what can follow each one. */
export const Status = Type.Unsafe<(typeof STATUSES)[number]>({
  type: 'string',
  enum: [...STATUSES],
  description: 'The current status of the task. COMPLETED, FAILED, CANCELLED and EXPIRED are final.',
})
export type Status = Static<typeof Status>

/** The statuses in which a task can be created. */
export const INITIAL_STATUSES = ['SCHEDULED', 'WAITING', 'PENDING'] as const satisfies readonly Status[]

/** The statuses that can follow each status. A final status has none. */
export const TRANSITIONS: Readonly<Record<Status, readonly Status[]>> = {
  SCHEDULED: ['PENDING', 'CANCELLED', 'EXPIRED'],
  WAITING: ['SCHEDULED', 'PENDING', 'FAILED', 'CANCELLED', 'EXPIRED'],
  PENDING: ['PROCESSING', 'FAILED', 'CANCELLED', 'EXPIRED'],
  // Back to PENDING: the attempt was released at shutdown, or its worker was lost.
  PROCESSING: ['COMPLETED', 'FAILED', 'RETRYING', 'CANCELLING', 'CANCELLED', 'PENDING'],
  RETRYING: ['PROCESSING', 'FAILED', 'CANCELLED', 'EXPIRED'],
  // A run that was asked to stop may still finish first.
  CANCELLING: ['CANCELLED', 'COMPLETED', 'FAILED'],
  COMPLETED: [],
  FAILED: [],
  CANCELLED: [],
  EXPIRED: [],
}

/**
 * The statuses in which a task can be edited: it has not started, or its next attempt has not. An edit keeps the status
 * and adds a version.
 */
export const EDITABLE_STATUSES = ['SCHEDULED', 'WAITING', 'PENDING', 'RETRYING'] as const satisfies readonly Status[]

/** Whether no other status can follow this one. */
export function isFinal(status: Status): boolean {
  return TRANSITIONS[status].length === 0
}

/** Whether the table allows this transition. */
export function canMove(from: Status, to: Status): boolean {
  return TRANSITIONS[from].includes(to)
}
