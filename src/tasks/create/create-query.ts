/**
 * Creates tasks inside an application's own transaction (`taskwire/outbox`). The task exists once the transaction
 * commits, together with the application's rows, and never existed if it rolls back. For applications that share
 * Taskwire's database.
 */
import { DEFAULT_TENANT } from '../../access/principal.js'
import type { CreateTask } from '../../protocol/http.js'

export interface CreateQuery {
  text: string
  values: (string | number | string[] | null)[]
}

const TEXT =
  'select taskwire.create_task($1::text, $2::text::jsonb, $3::text, $4::integer, $5::text[], $6::timestamptz, $7::text, ' +
  'concurrency_key => $8::text, sequence_key => $9::text, on_failure => $10::text, cost => $11::integer) as id'

const KEYS = ['concurrencyKey', 'sequenceKey', 'onFailure', 'cost'] as const

/**
 * The query that creates a task and answers with one row, `{ id }`; for any driver that takes text and values. The relay
 * delivers the task after the commit, within its interval (250 ms).
 *
 * The payload is checked when the task runs: one that does not fit its type ends as FAILED with `invalid_payload`.
 *
 * @throws by the database, with a hint, when type, title, priority, tags, keys or cost do not fit
 * @example
 * await client.query('begin')
 * await client.query('insert into orders …')
 * const { rows } = await client.query(createTaskQuery({ type: 'report.generate', payload: {} })) // node-postgres
 * await client.query('commit')
 */
export function createTaskQuery(
  task: Pick<CreateTask, 'title' | 'payload' | 'priority' | 'tags' | (typeof KEYS)[number]> & {
    type: string
    runAt?: string | Date
    tenant?: string
  },
): CreateQuery {
  const { type, payload = {}, title = null, priority = 0, tags = [], runAt = null, tenant = DEFAULT_TENANT } = task
  const startAt = runAt instanceof Date ? runAt.toISOString() : runAt
  const keys = KEYS.map((key) => task[key] ?? null)
  return { text: TEXT, values: [type, JSON.stringify(payload), title, priority, tags, startAt, tenant, ...keys] }
}
