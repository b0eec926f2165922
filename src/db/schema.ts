/**
 * The tables, as drizzle sees them. `npm run migrations:generate` turns a change here into SQL under `drizzle/`.
 *
 * Times are `timestamptz(3)`: what a client reads (milliseconds) is exactly what is stored, so a stored row and a copy
 * of it sent as an event compare equal. There are no foreign keys between these tables: rows that belong together are
 * written by one statement, and the check would cost a lock on the task's row for every row of history.
 */
import { sql } from 'drizzle-orm'
import { bigint, boolean, index, integer, jsonb, pgSchema, primaryKey, smallint, text, timestamp, uuid } from 'drizzle-orm/pg-core'
import { DEFAULT_TENANT } from '../access/principal.js'
import { STATUSES } from '../protocol/status.js'
import type { Failure, LogLine, Progress } from '../protocol/task.js'

/** Everything lives in a schema of its own, so that Taskwire can share a database with an application. */
export const taskwire = pgSchema('taskwire')

const instant = (name: string) => timestamp(name, { withTimezone: true, precision: 3, mode: 'date' })
const tenant = () => text('tenant').notNull().default(DEFAULT_TENANT)

/** A type of its own, not a check: PostgreSQL reads the text of a check anew for every statement. */
export const taskStatus = taskwire.enum('task_status', STATUSES)

/**
 * One row a task: where it stands now.
 *
 * No index on a column that changes: each update would have to write every index anew (they are "heap-only" now, which
 * doubles what claim and settle can do). Lists by status find their rows elsewhere: see `store/reads/list.ts`.
 */
export const tasks = taskwire.table('tasks', {
  id: uuid('id').primaryKey(),
  tenant: tenant(),
  type: text('type').notNull(),
  title: text('title').notNull(),
  queue: text('queue').notNull().default(DEFAULT_TENANT),
  priority: smallint('priority').notNull().default(0),
  tags: text('tags').array().notNull().default(sql`'{}'`),
  status: taskStatus('status').notNull(),
  version: integer('version').notNull().default(1),
  attempt: integer('attempt').notNull().default(0),
  maxAttempts: integer('max_attempts').notNull().default(1),
  /** How many attempts have failed; those that were handed back or lost do not count. */
  failures: smallint('failures').notNull().default(0),
  payload: jsonb('payload').notNull(),
  progress: jsonb('progress').$type<Progress>(),
  result: jsonb('result'),
  failure: jsonb('failure').$type<Failure>(),
  runAt: instant('run_at'),
  createdAt: instant('created_at').notNull().defaultNow(),
  /** Not started by then, it is EXPIRED. */
  expiresAt: instant('expires_at'),
  startedAt: instant('started_at'),
  finishedAt: instant('finished_at'),
  /** While the task has not ended, no other of its type has the same. See `uniqueKeys`. */
  uniqueKey: text('unique_key'),
  parentId: uuid('parent_id'),
  batchId: uuid('batch_id'),
  /** Told of the end, by a task of its own: see the trigger in `drizzle/`. */
  callbackUrl: text('callback_url'),
}, (table) => [
  // Only columns that do not change with the status, so that they cost a claim or an end nothing. A list walks one of them in the order of ids.
  // None begins with the tenant: a join by id that also compares the tenant would be planned as a walk over all of its tasks.
  index('tasks_type_idx').on(table.type, table.id),
  index('tasks_created_idx').on(table.createdAt, table.id),
  // Most tasks are in the default queue, and a walk over all tasks finds those soon.
  index('tasks_queue_idx').on(table.queue, table.id).where(sql`${table.queue} <> 'default'`),
  index('tasks_parent_idx').on(table.parentId, table.id).where(sql`${table.parentId} is not null`),
  index('tasks_batch_idx').on(table.batchId, table.id).where(sql`${table.batchId} is not null`),
])

/**
 * One row a tag of a task: an index of `tasks.tags` in the order of ids, which GIN does not have. Triggers on `tasks` keep it (see
 * `drizzle/`), so that it holds whoever writes a task: an older process, or an application's SQL.
 */
export const taskTags = taskwire.table(
  'task_tags',
  {
    tenant: tenant(),
    tag: text('tag').notNull(),
    taskId: uuid('task_id').notNull(),
  },
  (table) => [primaryKey({ columns: [table.tenant, table.tag, table.taskId] })],
)

/** The history: one row a committed change of status, or of what the task was asked for (an edit). Append only. */
export const transitions = taskwire.table(
  'transitions',
  {
    taskId: uuid('task_id').notNull(),
    version: integer('version').notNull(),
    tenant: tenant(),
    fromStatus: taskStatus('from_status'),
    status: taskStatus('status').notNull(),
    attempt: integer('attempt').notNull(),
    at: instant('at').notNull().defaultNow(),
    reason: text('reason'),
    /** Of an edit: the fields that it changed, named as in the API. Null for a change of status. */
    edited: text('edited').array(),
  },
  (table) => [
    primaryKey({ columns: [table.taskId, table.version] }),
    // Finds tasks that ended badly among millions that did not. Nothing leaves a final status, so this is exact.
    index('transitions_unhappy_end_idx')
      .on(table.tenant, table.status, table.taskId)
      .where(sql`${table.status} in ('FAILED', 'CANCELLED', 'EXPIRED')`),
  ],
)

/**
 * One row a running attempt, deleted when it ends: who runs it, and until when it is trusted without a sign of life.
 * A task has a lease exactly while it is PROCESSING or CANCELLING.
 */
export const leases = taskwire.table('leases', {
  taskId: uuid('task_id').primaryKey(),
  attempt: integer('attempt').notNull(),
  tenant: tenant(),
  worker: text('worker').notNull(),
  startedAt: instant('started_at').notNull().defaultNow(),
  leaseUntil: instant('lease_until').notNull(),
  /** Another attempt of the same worker was lost while this one ran: if it is lost, too, it is not to blame. See `findLostAttempts`. */
  isShared: boolean('shared').notNull().default(false),
})

/** One row an attempt that has ended. Append only. */
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

/**
 * The outbox: "attempt n of task x must reach a worker at `dueAt`". Written with the change that makes it necessary,
 * deleted by the claim. Only what nobody claimed in time, or what was due later, is ever read.
 */
export const deliveries = taskwire.table(
  'deliveries',
  {
    taskId: uuid('task_id').primaryKey(),
    attempt: integer('attempt').notNull(),
    tenant: tenant(),
    queue: text('queue').notNull().default(DEFAULT_TENANT),
    priority: smallint('priority').notNull().default(0),
    dueAt: instant('due_at').notNull(),
    /** How often the relay has handed it over. */
    handOvers: smallint('hand_overs').notNull().default(0),
    /** A task has a delivery exactly while it waits for an attempt, so this is where those that expire are found. */
    expiresAt: instant('expires_at'),
  },
  (table) => [
    index('deliveries_due_idx').on(table.queue, table.dueAt),
    index('deliveries_expires_idx').on(table.expiresAt).where(sql`${table.expiresAt} is not null`),
  ],
)

/** One row a line that a handler has logged. Append only, bounded per attempt. */
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

/**
 * One row a create that carried an `Idempotency-Key`, written with its task: the same key again, within its time, means
 * this task and no other.
 */
export const idempotencyKeys = taskwire.table(
  'idempotency_keys',
  {
    tenant: tenant(),
    key: text('key').notNull(),
    /** Of the body that came with the key. */
    fingerprint: text('fingerprint').notNull(),
    taskId: uuid('task_id').notNull(),
    /** The start of a task that was SCHEDULED at first: part of the first answer, and not kept elsewhere. */
    runAt: instant('run_at'),
    expiresAt: instant('expires_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.tenant, table.key] }), index('idempotency_keys_expires_idx').on(table.expiresAt)],
)

/** One row an unfinished task with a unique key; removed with its end, by a trigger. */
export const uniqueKeys = taskwire.table(
  'unique_keys',
  {
    tenant: tenant(),
    type: text('type').notNull(),
    key: text('key').notNull(),
    taskId: uuid('task_id').notNull(),
  },
  (table) => [primaryKey({ columns: [table.tenant, table.type, table.key] })],
)

/** One row an effect that a handler has recorded with `ctx.once`: what its next attempt must not do again. */
export const effects = taskwire.table(
  'effects',
  {
    taskId: uuid('task_id').notNull(),
    key: text('key').notNull(),
    tenant: tenant(),
    attempt: integer('attempt').notNull(),
    at: instant('at').notNull().defaultNow(),
    value: jsonb('value'),
    /** Why the value could not be recorded; the effect has happened all the same. */
    failure: text('failure'),
  },
  (table) => [primaryKey({ columns: [table.taskId, table.key] })],
)

/** One row a file that a task has produced; its bytes are elsewhere. */
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
    /** After this time it may be removed. */
    expiresAt: instant('expires_at'),
  },
  (table) => [
    primaryKey({ columns: [table.taskId, table.name] }),
    index('artifacts_expires_idx').on(table.expiresAt).where(sql`${table.expiresAt} is not null`),
  ],
)

/** What this installation signs with, made when it was first needed. */
export const secrets = taskwire.table('secrets', {
  name: text('name').primaryKey(),
  value: text('value').notNull(),
})

/** The memory of each broker as it was last seen: when it is another, what was handed over is delivered again. */
export const epochs = taskwire.table('epochs', {
  broker: text('broker').primaryKey(),
  epoch: text('epoch').notNull(),
  seenAt: instant('seen_at').notNull().defaultNow(),
})

/** How a run ended. `released`: handed back at shutdown. `lost`: its worker gave no sign of life. `cancelled`: as it was asked to. */
export type AttemptOutcome = 'completed' | 'failed' | 'released' | 'lost' | 'cancelled'

/** What the run threw. The stack is for operators and never leaves the server. */
export interface AttemptError {
  name: string
  message: string
  stack?: string
}
