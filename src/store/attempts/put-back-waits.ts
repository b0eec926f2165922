/** How long a task has been put back repeatedly for one reason, by PostgreSQL's clock, from its attempts. */
import type { Database, Statement } from '../../db/database.js'
import type { TaskId } from '../../protocol/task.js'

/** The error name of an attempt whose handler put its task back. */
export const PUT_BACK = 'PutBack'
/** The error name of an attempt whose worker had no handler for its type. */
export const NO_WORKER_FOR_TYPE = 'NoWorkerForType'

export interface PutBackWait {
  /** How many attempts in a row were put back for this reason. */
  count: number
  /** Milliseconds since the end of the first of those; 0 when there is none. */
  waitedMs: number
}

/** @param interrupts which attempt `b` ends the row: only attempts after the last of those count */
function countPutBacks(name: string, errorName: string, interrupts: string): Statement {
  return {
    name,
    text: `
select
  count(*)::integer as count,
  coalesce(extract(epoch from now() - min(a.finished_at)) * 1000, 0)::double precision as "waitedMs"
from taskwire.attempts a
where a.task_id = any(array[$1::text::uuid])
  and a.outcome = 'released'
  and a.error->>'name' = '${errorName}'
  and a.attempt > coalesce((
    select max(b.attempt)
    from taskwire.attempts b
    where b.task_id = any(array[$1::text::uuid]) and ${interrupts}
  ), 0)`,
  }
}

/** Attempts that were released for another reason, or lost, are ignored. */
const READ_PUT_BACK_WAIT = countPutBacks('read_put_back_wait', PUT_BACK, `b.outcome not in ('released', 'lost')`)
/** Any other attempt shows that some worker knows the type. */
const READ_TYPE_WAIT = countPutBacks(
  'read_type_wait',
  NO_WORKER_FOR_TYPE,
  `b.error->>'name' is distinct from '${NO_WORKER_FOR_TYPE}'`,
)

/** Of a task put back by its handler. */
export function readPutBackWait(db: Database, taskId: TaskId): Promise<PutBackWait> {
  return read(db, READ_PUT_BACK_WAIT, taskId)
}

/** Of a task put back because no worker that claimed it knew its type. */
export function readTypeWait(db: Database, taskId: TaskId): Promise<PutBackWait> {
  return read(db, READ_TYPE_WAIT, taskId)
}

async function read(db: Database, statement: Statement, taskId: TaskId): Promise<PutBackWait> {
  const [row] = await db.run<PutBackWait>(statement, [taskId])
  return row ?? { count: 0, waitedMs: 0 }
}
