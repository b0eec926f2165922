/** How long a task has been put back repeatedly by its own handler, by PostgreSQL's clock, from its attempts. */
import type { Database, Statement } from '../../db/database.js'
import type { TaskId } from '../../protocol/task.js'

/** The error name of an attempt whose handler put its task back. */
export const PUT_BACK = 'PutBack'

export interface PutBackWait {
  /** How often, since the last attempt that failed. Released and lost attempts in between are ignored. */
  count: number
  /** Milliseconds since the end of the first of those; 0 when there is none. */
  waitedMs: number
}

const READ_PUT_BACK_WAIT: Statement = {
  name: 'read_put_back_wait',
  text: `
select count(*)::integer as count, coalesce(extract(epoch from now() - min(a.finished_at)) * 1000, 0)::double precision as "waitedMs"
from taskwire.attempts a
where a.task_id = any(array[$1::text::uuid]) and a.outcome = 'released' and a.error->>'name' = '${PUT_BACK}' and a.attempt > coalesce((
  select max(b.attempt) from taskwire.attempts b where b.task_id = any(array[$1::text::uuid]) and b.outcome not in ('released', 'lost')), 0)`,
}

export async function readPutBackWait(db: Database, taskId: TaskId): Promise<PutBackWait> {
  const [row] = await db.run<PutBackWait>(READ_PUT_BACK_WAIT, [taskId])
  return row ?? { count: 0, waitedMs: 0 }
}
