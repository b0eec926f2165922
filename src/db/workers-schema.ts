/** The tables of workers. */
import { boolean, integer, jsonb, text } from 'drizzle-orm/pg-core'
import type { TypeOutcomes, WorkerQueue } from '../protocol/worker.js'
import { instant, taskwire } from './schema.js'

/**
 * One row per worker process, written with each heartbeat and deleted when the worker has stopped. A worker whose lease
 * has expired is lost; its row is kept for an hour, to be seen.
 */
export const workers = taskwire.table('workers', {
  /** As in the leases of its attempts. */
  id: text('id').primaryKey(),
  host: text('host').notNull(),
  pid: integer('pid').notNull(),
  version: text('version').notNull(),
  /** The task types that it has handlers for. */
  types: text('types').array().notNull(),
  queues: jsonb('queues').$type<WorkerQueue[]>().notNull(),
  /** How attempts have ended lately, by type. */
  outcomes: jsonb('outcomes').$type<TypeOutcomes[]>(),
  isStopping: boolean('is_stopping').notNull().default(false),
  startedAt: instant('started_at').notNull().defaultNow(),
  seenAt: instant('seen_at').notNull().defaultNow(),
  leaseUntil: instant('lease_until').notNull(),
  /** Whether it has stopped taking tasks, as it was asked to. */
  isDraining: boolean('is_draining').notNull().default(false),
  /** When it was asked to drain, by whom and why. */
  drainedAt: instant('drained_at'),
  drainedBy: text('drained_by'),
  drainReason: text('drain_reason'),
})

/** One row per type whose handler has ended a process. Until then its tasks run in processes of their own. */
export const quarantinedTypes = taskwire.table('quarantined_types', {
  type: text('type').primaryKey(),
  /** What the handler did. */
  reason: text('reason').notNull(),
  since: instant('since').notNull().defaultNow(),
  until: instant('until').notNull(),
})
