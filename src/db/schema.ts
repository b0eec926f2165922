/**
 * The tables, as drizzle sees them. `npm run migrations:generate` turns a change here into SQL under `drizzle/`.
 *
 * Times are `timestamptz(3)`: the precision that clients read (milliseconds) is exactly the precision stored, so a
 * stored row and a copy of it sent as an event compare equal. There are no foreign keys between these tables: related
 * rows are written by one statement, and the check would cost a lock on the task's row for every row of history.
 */
import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  index,
  integer,
  jsonb,
  pgSchema,
  primaryKey,
  smallint,
  text,
  timestamp,
  uuid,
} from 'drizzle-orm/pg-core'
import { DEFAULT_TENANT } from '../access/principal.js'
import { STATUSES } from '../protocol/status.js'
import type { Failure, Progress, TaskSlot } from '../protocol/task.js'

/** Everything is in its own schema, so that Taskwire can share a database with an application. */
export const taskwire = pgSchema('taskwire')

/** A time as in the API: milliseconds. */
export const instant = (name: string) => timestamp(name, { withTimezone: true, precision: 3, mode: 'date' })
export const tenant = () => text('tenant').notNull().default(DEFAULT_TENANT)

/** An enum type rather than a check constraint: PostgreSQL parses the text of a check for every statement. */
export const taskStatus = taskwire.enum('task_status', STATUSES)

/**
 * One row per task: its current state.
 *
 * Columns that change have no index. Otherwise each update would have to update every index; without them updates are
 * "heap-only", which doubles the throughput of claim and settle. Lists by status find their rows elsewhere: see
 * `store/reads/list.ts`.
 */
export const tasks = taskwire.table(
  'tasks',
  {
    id: uuid('id').primaryKey(),
    tenant: tenant(),
    type: text('type').notNull(),
    title: text('title').notNull(),
    queue: text('queue').notNull().default('default'),
    priority: smallint('priority').notNull().default(0),
    tags: text('tags')
      .array()
      .notNull()
      .default(sql`'{}'`),
    status: taskStatus('status').notNull(),
    version: integer('version').notNull().default(1),
    attempt: integer('attempt').notNull().default(0),
    maxAttempts: integer('max_attempts').notNull().default(1),
    /** How many attempts have failed. Released and lost attempts do not count. */
    failures: smallint('failures').notNull().default(0),
    payload: jsonb('payload').notNull(),
    progress: jsonb('progress').$type<Progress>(),
    result: jsonb('result'),
    failure: jsonb('failure').$type<Failure>(),
    runAt: instant('run_at'),
    createdAt: instant('created_at').notNull().defaultNow(),
    /** A task that has not started by then becomes EXPIRED. */
    expiresAt: instant('expires_at'),
    startedAt: instant('started_at'),
    finishedAt: instant('finished_at'),
    /** Until the task ends, no other task of its type has the same key. See `uniqueKeys`. */
    uniqueKey: text('unique_key'),
    parentId: uuid('parent_id'),
    batchId: uuid('batch_id'),
    /** Called when the task ends, by a separate task: see the trigger in `drizzle/`. */
    callbackUrl: text('callback_url'),
    /** What the limits per key count, and what fair shares are given to within a tenant. */
    concurrencyKey: text('concurrency_key'),
    /** Tasks with the same key run one after the other. See `sequenceMembers`. */
    sequenceKey: text('sequence_key'),
    /** How much of a rate limit a start takes; 1 if null. */
    cost: smallint('cost'),
    /** Whether its failure halts its sequence; null without a sequence key. */
    halts: boolean('halts'),
    /** Until the task starts, creates of its type with this key change it. See `debounces`. */
    debounceKey: text('debounce_key'),
    /** The slot of a schedule that it was created for. */
    schedule: jsonb('schedule').$type<TaskSlot>(),
  },
  (table) => [
    // Only columns that do not change with the status, so that these indexes cost claim and settle nothing. A list walks
    // one of them in the order of ids. None begins with the tenant: a join by id that also compares the tenant would be
    // planned as a walk over all of the tenant's tasks.
    index('tasks_type_idx').on(table.type, table.id),
    index('tasks_created_idx').on(table.createdAt, table.id),
    // Partial: most tasks are in the default queue, and a walk over all tasks finds those quickly.
    index('tasks_queue_idx')
      .on(table.queue, table.id)
      .where(sql`${table.queue} <> 'default'`),
    index('tasks_parent_idx')
      .on(table.parentId, table.id)
      .where(sql`${table.parentId} is not null`),
    index('tasks_batch_idx')
      .on(table.batchId, table.id)
      .where(sql`${table.batchId} is not null`),
  ],
)

/**
 * One row per tag of a task: an index of `tasks.tags` in the order of ids, which GIN does not provide. Triggers on
 * `tasks` maintain it (see `drizzle/`), so it is correct for every writer, including older processes and an
 * application's SQL.
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

/** The history: one row per committed change of status, or of the request (an edit). Append only. */
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
    /** Edits only: the changed fields, named as in the API. Null for a change of status. */
    edited: text('edited').array(),
  },
  (table) => [
    primaryKey({ columns: [table.taskId, table.version] }),
    // Finds tasks that ended badly among millions that did not. A final status never changes, so this is exact.
    index('transitions_unhappy_end_idx')
      .on(table.tenant, table.status, table.taskId)
      .where(sql`${table.status} in ('FAILED', 'CANCELLED', 'EXPIRED')`),
  ],
)

/**
 * The outbox: "attempt n of task x must reach a worker at `dueAt`". Written with the change that makes it necessary,
 * deleted by the claim. Only deliveries that were not claimed in time, or were due later, are ever read.
 */
export const deliveries = taskwire.table(
  'deliveries',
  {
    taskId: uuid('task_id').primaryKey(),
    attempt: integer('attempt').notNull(),
    tenant: tenant(),
    queue: text('queue').notNull().default('default'),
    priority: smallint('priority').notNull().default(0),
    dueAt: instant('due_at').notNull(),
    /** How often the relay has dispatched it. */
    handOvers: smallint('hand_overs').notNull().default(0),
    /** A task has a delivery exactly while it waits for an attempt, so tasks to expire are found here. */
    expiresAt: instant('expires_at'),
    /** Gated deliveries only: the lane in which it waits for its release. `due_at` is infinite until then. */
    laneId: bigint('lane_id', { mode: 'bigint' }),
    /** Since when it waits in its lane. */
    readyAt: instant('ready_at'),
    /** It may be claimed. */
    isReleased: boolean('is_released').notNull().default(false),
  },
  (table) => [
    index('deliveries_due_idx').on(table.queue, table.dueAt),
    index('deliveries_expires_idx')
      .on(table.expiresAt)
      .where(sql`${table.expiresAt} is not null`),
    index('deliveries_lane_idx')
      .on(table.laneId, table.readyAt, table.taskId)
      .where(sql`${table.laneId} is not null and not ${table.isReleased}`),
    index('deliveries_released_idx')
      .on(table.queue)
      .where(sql`${table.isReleased}`),
  ],
)

/**
 * One row per create that carried an `Idempotency-Key`, written with its task. Until it expires, the same key stands
 * for this task.
 */
export const idempotencyKeys = taskwire.table(
  'idempotency_keys',
  {
    tenant: tenant(),
    key: text('key').notNull(),
    /** Digest of the request body that came with the key. */
    fingerprint: text('fingerprint').notNull(),
    taskId: uuid('task_id').notNull(),
    /** The start time of a task created as SCHEDULED. Part of the first response, and stored nowhere else. */
    runAt: instant('run_at'),
    expiresAt: instant('expires_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.tenant, table.key] }),
    index('idempotency_keys_expires_idx').on(table.expiresAt),
  ],
)

/** One row per unfinished task with a unique key. A trigger removes it when the task ends. */
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

/**
 * One row per task that further creates with the same key change, until it starts. A trigger removes it then; a row
 * that is left over belongs to no SCHEDULED task, and the next create takes it.
 */
export const debounces = taskwire.table(
  'debounces',
  {
    tenant: tenant(),
    type: text('type').notNull(),
    key: text('key').notNull(),
    taskId: uuid('task_id').notNull(),
    /** No create moves the start beyond this. */
    latestAt: instant('latest_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.tenant, table.type, table.key] })],
)

/** This installation's signing secrets, each created on first use. */
export const secrets = taskwire.table('secrets', {
  name: text('name').primaryKey(),
  value: text('value').notNull(),
})

/** The epoch of each broker as last seen. When it changes, deliveries already dispatched are redelivered. */
export const epochs = taskwire.table('epochs', {
  broker: text('broker').primaryKey(),
  epoch: text('epoch').notNull(),
  seenAt: instant('seen_at').notNull().defaultNow(),
})
