/**
 * The workers of this installation: each writes its row with every heartbeat, and reads in the same statement whether it
 * was asked to drain.
 */
import { toArrayLiteral } from '../db/array-literal.js'
import type { Database, Statement } from '../db/database.js'
import type { TypeOutcomes, Worker, WorkerQueue } from '../protocol/worker.js'
import { QUARANTINED_NOW } from './quarantine.js'
import { toQueues, toTexts } from './stored-values.js'

/** What a worker says of itself. */
export interface WorkerReport {
  id: string
  host: string
  pid: number
  version: string
  types: readonly string[]
  queues: readonly WorkerQueue[]
  /** How its attempts have ended lately. Default: nothing to say. */
  outcomes?: readonly TypeOutcomes[]
  isStopping: boolean
  /** Whether it has stopped taking tasks, as it was asked to. */
  isDraining: boolean
}

/** How long a lost worker is listed. */
const LOST_FOR = `interval '1 hour'`
/** Most workers in a list. */
const MAX_LISTED = 1_000

const RECORD_HEARTBEAT: Statement = {
  name: 'record_heartbeat',
  text: `
insert into taskwire.workers as w (id, host, pid, version, types, queues, is_stopping, is_draining, lease_until, outcomes)
values ($1, $2, $3::integer, $4, $5::text::text[], $6::text::jsonb, $7::text::boolean, $8::text::boolean, now() + $9::double precision * interval '1 ms', $10::text::jsonb)
on conflict (id) do update
set types = excluded.types,
  queues = excluded.queues,
  outcomes = excluded.outcomes,
  is_stopping = excluded.is_stopping,
  is_draining = excluded.is_draining,
  seen_at = now(),
  lease_until = excluded.lease_until
returning w.drained_at is not null as "shouldDrain", ${QUARANTINED_NOW} as "quarantinedTypes"`,
}

/** What a worker learns with a heartbeat. */
export interface HeartbeatAnswer {
  /** Whether it was asked to drain. */
  shouldDrain: boolean
  /** Types whose tasks run in processes of their own. */
  quarantinedTypes: string[]
}

/**
 * Writes the worker's row.
 * @param leaseMs for how long the worker is trusted without another heartbeat
 */
export async function recordHeartbeat(db: Database, report: WorkerReport, leaseMs: number): Promise<HeartbeatAnswer> {
  const { id, host, pid, version, types, queues, outcomes = [], isStopping, isDraining } = report
  const [row] = await db.run<HeartbeatAnswer>(RECORD_HEARTBEAT, [
    ...[id, host, pid, version, toArrayLiteral(types), JSON.stringify(queues)],
    ...[String(isStopping), String(isDraining), leaseMs, JSON.stringify(outcomes)],
  ])
  return row ?? { shouldDrain: false, quarantinedTypes: [] }
}

const FORGET_WORKER: Statement = { name: 'forget_worker', text: 'delete from taskwire.workers where id = $1' }

/** Of a worker that has stopped. */
export async function forgetWorker(db: Database, id: string): Promise<void> {
  await db.run(FORGET_WORKER, [id])
}

const FORGET_LOST_WORKERS: Statement = {
  name: 'forget_lost_workers',
  text: `delete from taskwire.workers where lease_until < now() - ${LOST_FOR}`,
}

/** Deletes the rows of workers that were lost an hour ago or earlier. */
export async function forgetLostWorkers(db: Database): Promise<void> {
  await db.run(FORGET_LOST_WORKERS, [])
}

interface WorkerRow {
  id: string
  host: string
  pid: number
  version: string
  types: unknown[]
  queues: unknown
  isStopping: boolean
  isDraining: boolean
  isLost: boolean
  startedAt: Date
  seenAt: Date
  drainedAt: Date | null
  drainedBy: string | null
  drainReason: string | null
}

const COLUMNS = `w.id, w.host, w.pid, w.version, to_json(w.types) as types, w.queues, w.is_stopping as "isStopping", w.is_draining as "isDraining", w.lease_until < now() as "isLost",
  w.started_at as "startedAt", w.seen_at as "seenAt", w.drained_at as "drainedAt", w.drained_by as "drainedBy", w.drain_reason as "drainReason"`

const LIST_WORKERS: Statement = {
  name: 'list_workers',
  text: `
select ${COLUMNS}
from taskwire.workers w
order by w.lease_until < now(), w.started_at desc, w.id
limit ${MAX_LISTED}`,
}

/** Newest first, and lost ones after the others, for an hour; at most 1,000. */
export async function listWorkers(db: Database): Promise<Worker[]> {
  return (await db.run<WorkerRow>(LIST_WORKERS, [])).map(toWorker)
}

const DRAIN_WORKER: Statement = {
  name: 'drain_worker',
  text: `
update taskwire.workers w
set drained_at = coalesce(w.drained_at, now()),
  drained_by = case when w.drained_at is null then $2 else w.drained_by end,
  drain_reason = case when w.drained_at is null then $3 else w.drain_reason end
where w.id = $1
returning ${COLUMNS}`,
}

/**
 * Asks a worker to take no more tasks. One that drains already keeps its first reason.
 * @returns undefined if there is no such worker
 */
export async function drainWorker(
  db: Database,
  id: string,
  { by, reason }: { by: string; reason: string | null },
): Promise<Worker | undefined> {
  return toWorkers(await db.run<WorkerRow>(DRAIN_WORKER, [id, by, reason]))
}

const RESUME_WORKER: Statement = {
  name: 'resume_worker',
  text: `
update taskwire.workers w
set drained_at = null, drained_by = null, drain_reason = null
where w.id = $1
returning ${COLUMNS}`,
}

/**
 * Lets a drained worker take tasks again.
 * @returns undefined if there is no such worker
 */
export async function resumeWorker(db: Database, id: string): Promise<Worker | undefined> {
  return toWorkers(await db.run<WorkerRow>(RESUME_WORKER, [id]))
}

function toWorkers([row]: readonly WorkerRow[]): Worker | undefined {
  return row && toWorker(row)
}

function toWorker({ isStopping, isDraining, isLost, drainedAt, drainedBy, drainReason, ...row }: WorkerRow): Worker {
  const queues = toQueues(row.queues)
  const running = queues.reduce((sum, queue) => sum + queue.running, 0)
  const emptying = isDraining && running === 0 ? 'drained' : 'draining'
  return {
    ...row,
    types: toTexts(row.types),
    queues,
    state: isLost ? 'lost' : isStopping ? 'stopping' : drainedAt !== null ? emptying : 'running',
    startedAt: row.startedAt.toISOString(),
    seenAt: row.seenAt.toISOString(),
    running,
    drain: drainedAt && { at: drainedAt.toISOString(), by: drainedBy ?? '', reason: drainReason },
  }
}
