/**
 * Reads how long attempts took lately, for estimates.
 *
 * Attempts have no index by time. Their keys begin with the task's id, which is ordered by creation, so the attempts of
 * the newest tasks that have run are found by walking back from the end. A type that is rare among those is also looked
 * for among its own newest tasks.
 */
import { toArrayLiteral } from '../../db/array-literal.js'
import type { Database, Statement } from '../../db/database.js'

const MAX_RECENT = 300
const MAX_OF_TYPE = 50

/** An attempt that has ended. Times are milliseconds since 1970. */
export interface Run {
  type: string
  queue: string
  startedAt: number
  tookMs: number
}

const READ_RUNS: Statement = {
  name: 'read_runs',
  text: `
with recent as (
  select a.task_id, a.attempt, a.started_at, a.finished_at, a.outcome
  from taskwire.attempts a
  order by a.task_id desc, a.attempt desc
  limit ${MAX_RECENT}
), of_types as (
  select a.task_id, a.attempt, a.started_at, a.finished_at, a.outcome
  from unnest($1::text::text[]) as wanted(type)
  cross join lateral (select t.id from taskwire.tasks t where t.type = wanted.type order by t.id desc limit ${MAX_OF_TYPE}) t
  join taskwire.attempts a on a.task_id = any(array[t.id])
)
select t.type, t.queue, (extract(epoch from r.started_at) * 1000)::double precision as "startedAt",
  greatest(0, extract(epoch from r.finished_at - r.started_at) * 1000)::double precision as "tookMs"
from (select * from recent union select * from of_types) r
join taskwire.tasks t on t.id = any(array[r.task_id])
where r.outcome in ('completed', 'failed')`,
}

/** The latest attempts of all types, and some of these types. */
export function readRuns(db: Database, types: readonly string[]): Promise<Run[]> {
  return db.run<Run>(READ_RUNS, [toArrayLiteral(types)])
}
