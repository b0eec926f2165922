/**
 * Where a task can stand, and the only moves between those places.
 *
 * This table is the one source: the store's conditional statements move along it, the trigger in `drizzle/` is
 * generated from it, the README's diagram is drawn from it, and the browser client reads `isFinal` out of it.
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

/** Where a task stands. See `TRANSITIONS` for what can follow what. */
export const Status = Type.Unsafe<(typeof STATUSES)[number]>({
  type: 'string',
  enum: [...STATUSES],
  description: 'Where the task stands. COMPLETED, FAILED, CANCELLED and EXPIRED are final.',
})
export type Status = Static<typeof Status>

/** The statuses a task may be created in. */
export const INITIAL_STATUSES = ['SCHEDULED', 'WAITING', 'PENDING'] as const satisfies readonly Status[]

/** From each status, the statuses it may move to. A final status has none. */
export const TRANSITIONS: Readonly<Record<Status, readonly Status[]>> = {
  SCHEDULED: ['PENDING', 'CANCELLED', 'EXPIRED'],
  WAITING: ['SCHEDULED', 'PENDING', 'FAILED', 'CANCELLED', 'EXPIRED'],
  PENDING: ['PROCESSING', 'FAILED', 'CANCELLED', 'EXPIRED'],
  // Back to PENDING: the attempt was handed back at shutdown, or its worker was lost.
  PROCESSING: ['COMPLETED', 'FAILED', 'RETRYING', 'CANCELLING', 'CANCELLED', 'PENDING'],
  RETRYING: ['PROCESSING', 'FAILED', 'CANCELLED', 'EXPIRED'],
  // A run that was asked to stop may still end by itself first.
  CANCELLING: ['CANCELLED', 'COMPLETED', 'FAILED'],
  COMPLETED: [],
  FAILED: [],
  CANCELLED: [],
  EXPIRED: [],
}

/** Where a task can be edited: it has not started, or its next attempt has not. An edit keeps the status and makes the next version. */
export const EDITABLE_STATUSES = ['SCHEDULED', 'WAITING', 'PENDING', 'RETRYING'] as const satisfies readonly Status[]

/** Whether nothing can follow this status. */
export function isFinal(status: Status): boolean {
  return TRANSITIONS[status].length === 0
}

/** Whether the table allows this move. */
export function canMove(from: Status, to: Status): boolean {
  return TRANSITIONS[from].includes(to)
}
