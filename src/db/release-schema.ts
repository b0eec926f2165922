/**
 * The tables of the release: what holds tasks back, and whose turn it is. See `drizzle/0016_release.sql`, where the
 * release itself is.
 *
 * Limits, pauses and weights are set by people. Everything else is written by the release, which runs in one process at
 * a time, with three exceptions that other statements only append to or delete their own rows of: arrivals, wakes and
 * holds. So nobody waits for the release, and nobody can deadlock with it.
 */
import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  doublePrecision,
  index,
  integer,
  primaryKey,
  smallint,
  text,
  timestamp,
  uuid,
} from 'drizzle-orm/pg-core'
import { instant, taskwire, tenant } from './schema.js'

/** A time that a rate is calculated with: microseconds. */
const exactInstant = (name: string) => timestamp(name, { withTimezone: true, precision: 6, mode: 'date' })

/**
 * One row per limit: how many of the tasks that it names may run at a time, or start per period.
 *
 * Null for types, queue or tenant stands for any.
 */
export const limits = taskwire.table('limits', {
  name: text('name').primaryKey(),
  types: text('types').array(),
  queue: text('queue'),
  tenant: text('tenant'),
  /** What has a count of its own: nothing, each tenant, or each concurrency key of a tenant. */
  per: text('per').$type<'all' | 'tenant' | 'key'>().notNull().default('all'),
  /** Most attempts at a time. */
  concurrency: integer('concurrency'),
  /** Most starts per period. */
  rate: integer('rate'),
  periodMs: doublePrecision('period_ms'),
  /** How many may start at once after a quiet time. */
  burst: integer('burst'),
  /** What happens to a task over the rate. */
  whenOver: text('when_over').$type<'delay' | 'skip'>().notNull().default('delay'),
  /** After a pause: the concurrency is 1 and doubles each second from this time on. */
  rampSince: instant('ramp_since'),
  isFromCode: boolean('is_from_code').notNull().default(false),
  setBy: text('set_by').notNull(),
  setAt: instant('set_at').notNull().defaultNow(),
  reason: text('reason'),
})

/** One row per pause: no task of this queue, type, tenant or key starts. */
export const pauses = taskwire.table(
  'pauses',
  {
    kind: text('kind').$type<'queue' | 'type' | 'tenant' | 'key'>().notNull(),
    /** Of a key; empty for the others. */
    tenant: text('tenant').notNull().default(''),
    name: text('name').notNull(),
    reason: text('reason'),
    setBy: text('set_by').notNull(),
    setAt: instant('set_at').notNull().defaultNow(),
    /** It ends by itself then. */
    until: instant('until'),
  },
  (table) => [primaryKey({ columns: [table.kind, table.tenant, table.name] })],
)

/** One row per type that the breaker has paused. */
export const breakers = taskwire.table('breakers', {
  type: text('type').primaryKey(),
  changedAt: instant('changed_at').notNull(),
  /** How often in a row. */
  trips: integer('trips').notNull(),
})

/** One row per tenant or key whose share is not 1. */
export const weights = taskwire.table(
  'weights',
  {
    kind: text('kind').$type<'tenant' | 'key'>().notNull(),
    tenant: text('tenant').notNull(),
    /** Empty for a tenant. */
    key: text('key').notNull().default(''),
    weight: doublePrecision('weight').notNull(),
    setBy: text('set_by').notNull(),
    setAt: instant('set_at').notNull().defaultNow(),
    reason: text('reason'),
  },
  (table) => [primaryKey({ columns: [table.kind, table.tenant, table.key] })],
)

/**
 * One row per queue and tenant that has created tasks in it. A queue with two or more is shared, and then its tasks
 * are gated.
 */
export const queueTenants = taskwire.table(
  'queue_tenants',
  {
    queue: text('queue').notNull(),
    tenant: tenant(),
    seenAt: instant('seen_at').notNull().defaultNow(),
  },
  (table) => [primaryKey({ columns: [table.queue, table.tenant] })],
)

/**
 * One row per queue: how many deliveries were released. The row without a name is the lock of the release, and says which
 * queue is the first.
 */
export const releaseTurns = taskwire.table('release_turns', {
  queue: text('queue').primaryKey(),
  turn: bigint('turn', { mode: 'number' }).notNull().default(0),
})

/** One row per lane: deliveries that the same limits, pauses and shares apply to. */
export const lanes = taskwire.table(
  'lanes',
  {
    /** A hash of the six columns that follow. */
    id: bigint('id', { mode: 'bigint' }).primaryKey(),
    queue: text('queue').notNull(),
    tenant: tenant(),
    type: text('type').notNull(),
    priority: smallint('priority').notNull(),
    /** Empty when its tasks have none. */
    key: text('key').notNull(),
    sequenceKey: text('sequence_key').notNull(),
    /** Virtual time of its next start. */
    tag: doublePrecision('tag').notNull().default(0),
    /** Whether deliveries may wait in it. */
    isWaiting: boolean('is_waiting').notNull().default(true),
    /** What holds it; null when its next delivery may be released. */
    blockedBy: text('blocked_by'),
    releasedAt: exactInstant('released_at'),
  },
  (table) => [
    index('lanes_ready_idx')
      .on(table.queue, table.priority, table.tenant, table.tag, table.releasedAt.nullsFirst())
      .where(sql`${table.isWaiting} and ${table.blockedBy} is null`),
    index('lanes_blocked_idx')
      .on(table.blockedBy)
      .where(sql`${table.blockedBy} is not null`),
    index('lanes_key_idx').on(table.queue, table.priority, table.tenant, table.key, table.sequenceKey),
  ],
)

/** One row per queue, priority and tenant with lanes: the tenant's turn. */
export const shares = taskwire.table(
  'shares',
  {
    queue: text('queue').notNull(),
    priority: smallint('priority').notNull(),
    tenant: tenant(),
    /** Virtual time of its next start, among the tenants. */
    tag: doublePrecision('tag').notNull().default(0),
    /** Virtual time within the tenant, among its keys. */
    keyTime: doublePrecision('key_time').notNull().default(0),
    /** Whether one of its lanes may be ready. */
    isReady: boolean('is_ready').notNull().default(true),
  },
  (table) => [
    primaryKey({ columns: [table.queue, table.priority, table.tenant] }),
    index('shares_ready_idx')
      .on(table.queue, table.priority.desc(), table.tag)
      .where(sql`${table.isReady}`),
  ],
)

/** Virtual time of each queue and priority: the tag of the tenant that was served last. */
export const levels = taskwire.table(
  'levels',
  {
    queue: text('queue').notNull(),
    priority: smallint('priority').notNull(),
    time: doublePrecision('time').notNull().default(0),
  },
  (table) => [primaryKey({ columns: [table.queue, table.priority] })],
)

/** Lanes that have got a delivery. Appended with it, deleted by the release. */
export const arrivals = taskwire.table('arrivals', {
  id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
  laneId: bigint('lane_id', { mode: 'bigint' }).notNull(),
  queue: text('queue').notNull(),
  tenant: tenant(),
  type: text('type').notNull(),
  priority: smallint('priority').notNull(),
  key: text('key').notNull(),
  sequenceKey: text('sequence_key').notNull(),
})

/** Lanes blocked by this are checked again from a time on. Appended by anyone, deleted by the release. */
export const wakes = taskwire.table(
  'wakes',
  {
    id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    blockedBy: text('blocked_by').notNull(),
    at: exactInstant('at').notNull().defaultNow(),
  },
  (table) => [index('wakes_at_idx').on(table.at), index('wakes_blocked_by_idx').on(table.blockedBy, table.at)],
)

/**
 * One row per limit that counts an attempt: from its release until its end. Deleted by triggers. `@sequence` counts the
 * attempts of each sequence: there is one at a time.
 */
export const holds = taskwire.table(
  'holds',
  {
    limitName: text('limit_name').notNull(),
    /** What is counted: empty for all, a tenant, or tenant and key as a JSON array. */
    subject: text('subject').notNull(),
    taskId: uuid('task_id').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.limitName, table.subject, table.taskId] }),
    index('holds_task_idx').on(table.taskId),
  ],
)

/** The state of each rate limit (GCRA): the theoretical arrival time of the next start. */
export const rates = taskwire.table(
  'rates',
  {
    limitName: text('limit_name').notNull(),
    subject: text('subject').notNull(),
    nextAt: exactInstant('next_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.limitName, table.subject] })],
)

/**
 * One row per unfinished task with a sequence key, in the order of their creation. The first may run. A failed task
 * stays first when it halts its sequence.
 */
export const sequenceMembers = taskwire.table(
  'sequence_members',
  {
    tenant: tenant(),
    key: text('key').notNull(),
    position: bigint('position', { mode: 'number' }).generatedAlwaysAsIdentity(),
    taskId: uuid('task_id').notNull(),
    /** Whether its failure halts the sequence; otherwise the next task follows. */
    halts: boolean('halts').notNull(),
    /** When it has failed, and so halted the sequence. */
    haltedAt: instant('halted_at'),
  },
  (table) => [
    primaryKey({ columns: [table.tenant, table.key, table.position] }),
    index('sequence_members_task_idx').on(table.taskId),
    index('sequence_members_halted_idx')
      .on(table.tenant, table.key)
      .where(sql`${table.haltedAt} is not null`),
  ],
)
