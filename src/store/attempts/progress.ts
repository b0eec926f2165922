/**
 * Stores the latest progress of running attempts. In: at most one report per attempt. Reports of an attempt that is no
 * longer current change nothing. Out: the messages to publish, with the version they belong to.
 */
import { markTenant } from '../../access/principal.js'
import type { Database, Statement } from '../../db/database.js'
import type { Status } from '../../protocol/status.js'
import type { Event } from '../../protocol/stream.js'
import type { Progress, TaskId } from '../../protocol/task.js'
import type { AttemptRef } from './claim.js'

export interface ProgressReport extends AttemptRef {
  progress: Omit<Progress, 'at'>
}

interface ProgressRow {
  taskId: TaskId
  tenant: string
  status: Status
  version: number
  attempt: number
  progress: Progress
}

const RECORD_PROGRESS: Statement = {
  name: 'record_progress',
  text: `
with input as (
  select r."taskId" as id, r.attempt, r.progress
  from json_to_recordset($1::text::json) as r("taskId" uuid, attempt integer, progress jsonb)
), current as (
  select i.id, i.progress
  from input i join taskwire.tasks t on t.id = any(array[i.id])
  where t.attempt = any(array[i.attempt]) and t.status = 'PROCESSING'
  order by i.id for update of t
)
update taskwire.tasks t
set progress = c.progress || jsonb_build_object('at', to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
from current c where t.id = any(array[c.id])
returning t.id as "taskId", t.tenant, t.status, t.version, t.attempt, t.progress`,
}

export async function recordProgressIfCurrent(db: Database, reports: readonly ProgressReport[]): Promise<Event[]> {
  const rows = await db.run<ProgressRow>(RECORD_PROGRESS, [JSON.stringify(reports)])
  return rows.map(({ tenant, ...row }) => ({ type: 'progress', ...row, ...markTenant(tenant) }))
}
