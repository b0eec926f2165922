/** How long a task has been waiting for a worker that knows its type, by PostgreSQL's clock, from its attempts. */
import type { Database, Statement } from '../../db/database.js'
import type { TaskId } from '../../protocol/task.js'

/** The error name of an attempt whose worker had no handler for its type. */
export const NO_WORKER_FOR_TYPE = 'NoWorkerForType'

export interface TypeWait {
  /** How many consecutive attempts were put back for this. */
  count: number
  /** Milliseconds since the first of those; 0 when there is none. */
  waitedMs: number
}

const READ_TYPE_WAIT: Statement = {
  name: 'read_type_wait',
  text: `
select count(*)::integer as count, coalesce(extract(epoch from now() - min(a.finished_at)) * 1000, 0)::double precision as "waitedMs"
from taskwire.attempts a
where a.task_id = any(array[$1::text::uuid]) and a.error->>'name' = '${NO_WORKER_FOR_TYPE}' and a.attempt > coalesce((
  select max(b.attempt) from taskwire.attempts b
  where b.task_id = any(array[$1::text::uuid]) and b.error->>'name' is distinct from '${NO_WORKER_FOR_TYPE}'), 0)`,
}

export async function readTypeWait(db: Database, taskId: TaskId): Promise<TypeWait> {
  const [row] = await db.run<TypeWait>(READ_TYPE_WAIT, [taskId])
  return row ?? { count: 0, waitedMs: 0 }
}
