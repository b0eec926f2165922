/** The tables of attempts: the running ones, their ends, and what they leave behind. */
import { sql } from 'drizzle-orm'
import { bigint, boolean, index, integer, jsonb, primaryKey, text, uuid } from 'drizzle-orm/pg-core'
import type { LogLine } from '../protocol/task.js'
import { instant, taskwire, tenant } from './schema.js'

/**
 * One row per running attempt, deleted when it ends: which worker runs it, and until when it is trusted without a
 * heartbeat. A task has a lease exactly while it is PROCESSING or CANCELLING.
 */
export const leases = taskwire.table('leases', {
  taskId: uuid('task_id').primaryKey(),
  attempt: integer('attempt').notNull(),
  tenant: tenant(),
  worker: text('worker').notNull(),
  startedAt: instant('started_at').notNull().defaultNow(),
  leaseUntil: instant('lease_until').notNull(),
  /**
   * Another attempt of the same worker was lost while this one ran. If this one is lost too, it is not blamed. See
   * `findLostAttempts`.
   */
  isShared: boolean('shared').notNull().default(false),
  /** Limits count this attempt: see `holds`. */
  hasHolds: boolean('has_holds').notNull().default(false),
})

/** One row per finished attempt. Append only. */
export const attempts = taskwire.table(
  'attempts',
  {
    taskId: uuid('task_id').notNull(),
    attempt: integer('attempt').notNull(),
    tenant: tenant(),
    worker: text('worker').notNull(),
    startedAt: instant('started_at').notNull(),
    finishedAt: instant('finished_at').notNull(),
    outcome: text('outcome').$type<AttemptOutcome>().notNull(),
    error: jsonb('error').$type<AttemptError>(),
  },
  (table) => [primaryKey({ columns: [table.taskId, table.attempt] })],
)

/** One row per line logged by a handler. Append only, bounded per attempt. */
export const logs = taskwire.table(
  'logs',
  {
    taskId: uuid('task_id').notNull(),
    seq: bigint('seq', { mode: 'number' }).generatedAlwaysAsIdentity(),
    attempt: integer('attempt').notNull(),
    tenant: tenant(),
    at: instant('at').notNull(),
    level: text('level').$type<LogLine['level']>().notNull(),
    text: text('text').notNull(),
  },
  (table) => [primaryKey({ columns: [table.taskId, table.seq] })],
)

/** One row per effect that a handler recorded with `ctx.once`, which its next attempt must not repeat. */
export const effects = taskwire.table(
  'effects',
  {
    taskId: uuid('task_id').notNull(),
    key: text('key').notNull(),
    tenant: tenant(),
    attempt: integer('attempt').notNull(),
    at: instant('at').notNull().defaultNow(),
    value: jsonb('value'),
    /** Why the value could not be recorded. The effect has happened all the same. */
    failure: text('failure'),
  },
  (table) => [primaryKey({ columns: [table.taskId, table.key] })],
)

/** One row per file that a task has produced. The bytes are in the artifact store. */
export const artifacts = taskwire.table(
  'artifacts',
  {
    taskId: uuid('task_id').notNull(),
    name: text('name').notNull(),
    tenant: tenant(),
    attempt: integer('attempt').notNull(),
    mediaType: text('media_type').notNull(),
    bytes: bigint('bytes', { mode: 'number' }).notNull(),
    sha256: text('sha256').notNull(),
    createdAt: instant('created_at').notNull().defaultNow(),
    /** After this time it may be deleted. */
    expiresAt: instant('expires_at'),
  },
  (table) => [
    primaryKey({ columns: [table.taskId, table.name] }),
    index('artifacts_expires_idx')
      .on(table.expiresAt)
      .where(sql`${table.expiresAt} is not null`),
  ],
)

/**
 * How the attempt ended. `released`: returned to the queue, e.g. at shutdown. `lost`: no heartbeat from its worker
 * within the lease. `cancelled`: ended by a requested cancellation.
 */
export type AttemptOutcome = 'completed' | 'failed' | 'released' | 'lost' | 'cancelled'

/** What the handler threw. The stack is for operators and never leaves the server. */
export interface AttemptError {
  name: string
  message: string
  stack?: string
}
