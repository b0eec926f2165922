/**
 * What a create with a debounce key asks for: while a task with the key is SCHEDULED, it changes that task and moves its
 * start instead of creating another. See `take-debounces.ts`.
 */
import type { OnFailure } from '../../protocol/release.js'
import type { TaskId } from '../../protocol/task.js'

/** What a later create can change. */
export interface DebouncedFields {
  title: string
  priority: number
  tags: readonly string[]
  payload: unknown
  /** ISO 8601. */
  expiresAt: string | null
}

/** What is decided by the first create with the key. */
export interface SettledFields {
  queue: string
  callbackUrl: string | null
  concurrencyKey: string | null
  sequenceKey: string | null
  /** Null without a sequence key. */
  onFailure: OnFailure | null
  cost: number
}

/** The task that has the key. */
export type DebouncedTask = DebouncedFields & SettledFields & { id: TaskId }

export interface Debounce {
  /** Belongs to the tenant and the type. */
  key: string
  /** From this create to the start. */
  delayMs: number
  /** From the first create with the key to the start, at most. */
  maxDelayMs: number
  /**
   * The task as this create leaves it. May be called again when the transaction is retried.
   *
   * @param current undefined when no task has the key
   * @param startsAt when the task then starts
   * @throws to refuse the create; then nothing is changed
   */
  apply(current: DebouncedTask | undefined, startsAt: Date): DebouncedFields
}
