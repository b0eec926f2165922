/**
 * The one statement that moves tasks. Every change of a task's row that makes a version is composed here, so that each does the same
 * things in the same order:
 *
 * 1. `input`: what the caller asks for.
 * 2. `current`: the rows that may move, locked in the order of ids, so that two batches that overlap wait instead of deadlocking.
 * 3. `moved`: the change, and the next version.
 * 4. `history`: the transition.
 * 5. What follows it: deliveries, leases, records of attempts. All read `moved`.
 *
 * A row that is not found in `current` changes nothing and is missing in the answer: that is how a late or repeated writer is told.
 *
 * Rows are found by `id = any(array[…])` where `id = …` would mean the same: only a lookup in the index can serve that, row by row,
 * however small the tables were when the plan was made.
 *
 * What follows the end of a task for other rows (its unique key is free, its callback is due) is done by the trigger `tasks_end`
 * (drizzle/0010_callbacks.sql), whoever wrote the end: processes of the version before, too, while a deploy replaces them.
 */
import type { Statement } from '../db/database.js'
import type { Status } from '../protocol/status.js'

export interface Move {
  /** Of the prepared statement. */
  name: string
  forceCustomPlan?: boolean
  /** CTEs as `name as (…)`; the first may begin with `recursive`. */
  input: readonly string[]
  /**
   * The rows that may move: columns, where they are found (`taskwire.tasks t` is among it), and on which condition. Besides `t.id`, the
   * status before and after and the reason they have what the rest needs.
   */
  current: {
    status: string
    reason?: string
    columns?: readonly string[]
    from: string
    where: string
    /** What somebody else is changing now is left out instead of waited for. */
    skipsLocked?: boolean
  }
  /** Of the rows in `current c` those that move; all when left out. */
  when?: string
  /** Assignments besides those of status and version. */
  set: readonly string[]
  /** Columns of `moved` besides those of every move. */
  returning?: readonly string[]
  /** `edited` is a column of `current`, and belongs to the history. */
  isEdit?: boolean
  /** CTEs over `moved m`. */
  follow: readonly string[]
  answer: string
}

/** The columns of `moved` that every move has; `t` is the task after it. */
const MOVED = ['t.id', 't.tenant', 't.version', 'c.from_status', 't.status', 't.attempt', 'c.reason', 'now()::timestamptz(3) as at']

export function moveTasks({ name, forceCustomPlan = false, input, current, when, set, returning = [], isEdit = false, follow, answer }: Move): Statement {
  const columns = ['t.id', 't.status as from_status', `${current.status} as status`, `${current.reason ?? 'null::text'} as reason`, ...(current.columns ?? [])]
  return {
    name,
    forceCustomPlan,
    text: withClauses(
      [
        ...input,
        `current as (
  select ${columns.join(', ')}
  from ${current.from}
  where ${current.where}
  order by t.id
  for update of t${current.skipsLocked === true ? ' skip locked' : ''}
)`,
        `moved as (
  update taskwire.tasks t
  set ${['status = c.status', 'version = t.version + 1', ...set].join(', ')}
  from current c
  where t.id = any(array[c.id])${when === undefined ? '' : ` and ${when}`}
  returning ${[...MOVED, ...(isEdit ? ['c.edited'] : []), ...returning].join(', ')}
)`,
        writeHistory('moved', isEdit ? ['edited'] : []),
        ...follow,
      ],
      answer,
    ),
  }
}

/** `with …, … <query>`. */
export function withClauses(clauses: readonly string[], query: string): string {
  return `\nwith ${clauses.join(', ')}\n${query}`
}

/** The transitions of the rows in `moved`, or of new tasks. */
export function writeHistory(source: string, columns: readonly string[] = []): string {
  const names = ['version', 'tenant', 'from_status', 'status', 'attempt', 'at', 'reason', ...columns].join(', ')
  return `history as (
  insert into taskwire.transitions (task_id, ${names})
  select id, ${names}
  from ${source}
)`
}

/** A delivery for each row of `source`, which is a relation with what a delivery copies from its task. */
export function writeDeliveries(source: string, { attempt, dueAt, where }: { attempt: string; dueAt: string; where?: string }): string {
  return `outbox as (
  insert into taskwire.deliveries (task_id, attempt, tenant, queue, priority, due_at, expires_at)
  select m.id, ${attempt}, m.tenant, m.queue, m.priority, ${dueAt}, m.expires_at
  from ${source}${where === undefined ? '' : `
  where ${where}`}
)`
}

/** Of the rows in `moved m` that fit. */
export function deleteDeliveries(where?: string): string {
  return `outbox as (
  delete from taskwire.deliveries d
  using moved m
  where d.task_id = any(array[m.id])${where === undefined ? '' : ` and ${where}`}
)`
}

/** The answer of most moves: what `toEvent` reads. */
export const TRANSITION_COLUMNS = 'm.id as "taskId", m.tenant, m.version, m.from_status as "fromStatus", m.status, m.attempt, m.at, m.reason'

/** A status as SQL. */
export function asStatus(status: Status): string {
  return `'${status}'::taskwire.task_status`
}
