/**
 * The one statement that moves tasks. Every change of a task's row that makes a version is composed here, so that each
 * does the same things in the same order:
 *
 * 1. `input`: what the caller requests.
 * 2. `current`: the rows that may move, locked in the order of ids, so that overlapping batches wait instead of
 *   deadlocking. Each is looked up by itself (`lateral … offset 0`): given a choice, PostgreSQL would read the whole
 *   index, which is the cheaper way while the table is small, and keep that plan while the table grows.
 * 3. `moved`: the change, and the next version.
 * 4. `history`: the transition.
 * 5. What follows: deliveries, leases, records of attempts. All read `moved`.
 *
 * A row that is not in `current` is unchanged and missing from the answer. That is how a late or repeated writer finds
 * out.
 *
 * Rows are found by `id = any(array[…])` where `id = …` would mean the same: only an index lookup per row can serve it,
 * however small the tables were when the plan was made.
 *
 * The consequences of a task's end for other rows (its unique key becomes free, its callback is due) are the work of
 * the trigger `tasks_end` (drizzle/0010_callbacks.sql). So they also happen when a process of the previous version ends
 * the task during a deploy.
 */
import type { Statement } from '../db/database.js'

export interface Move {
  /** Name of the prepared statement. */
  name: string
  forceCustomPlan?: boolean
  /** CTEs as `name as (…)`; the first may begin with `recursive`. */
  input: readonly string[]
  /**
   * The rows that may move: the tasks `t` with these ids for which the condition holds. The columns are added to `t.id`,
   * the status before and after, and the reason.
   */
  current: {
    status: string
    reason?: string
    columns?: readonly string[]
    /** A relation of the input, in the order of ids unless locked rows are skipped. */
    from: string
    /** Its column with the id, or another expression. */
    id: string
    where: string
    /** Skip rows that another transaction is changing, instead of waiting for them. */
    skipsLocked?: boolean
  }
  /** Which rows of `current c` move. Default: all. */
  when?: string
  /** Assignments in addition to status and version. */
  set: readonly string[]
  /** Columns of `moved` in addition to those of every move. */
  returning?: readonly string[]
  /** `edited` is a column of `current`, and part of the history. */
  isEdit?: boolean
  /** CTEs over `moved m`. */
  follow: readonly string[]
  answer: string
}

/** The columns of `moved` that every move has; `t` is the task after the move. */
const MOVED = [
  't.id',
  't.tenant',
  't.version',
  'c.from_status',
  't.status',
  't.attempt',
  'c.reason',
  'now()::timestamptz(3) as at',
]

export function moveTasks({
  name,
  forceCustomPlan = false,
  input,
  current,
  when,
  set,
  returning = [],
  isEdit = false,
  follow,
  answer,
}: Move): Statement {
  const columns = [
    't.id',
    't.status as from_status',
    `${current.status} as status`,
    `${current.reason ?? 'null::text'} as reason`,
    ...(current.columns ?? []),
  ]
  return {
    name,
    forceCustomPlan,
    text: withClauses(
      [
        ...input,
        `current as (
  select ${columns.join(', ')}
  from ${current.from}, lateral (
    select *
    from taskwire.tasks t
    where t.id = any(array[${current.id}]) and ${current.where}
    offset 0
    for update${current.skipsLocked === true ? ' skip locked' : ''}
  ) t
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

/** Writes the transitions of the rows in `moved`, or of new tasks. */
export function writeHistory(source: string, columns: readonly string[] = []): string {
  const names = ['version', 'tenant', 'from_status', 'status', 'attempt', 'at', 'reason', ...columns].join(', ')
  return `history as (
  insert into taskwire.transitions (task_id, ${names})
  select id, ${names}
  from ${source}
)`
}

/** Writes a delivery for each row of `source`, a relation with the columns that a delivery copies from its task. */
export function writeDeliveries(
  source: string,
  { attempt, dueAt, laneId, where }: { attempt: string; dueAt: string; laneId?: string; where?: string },
): string {
  return `outbox as (
  insert into taskwire.deliveries (task_id, attempt, tenant, queue, priority, due_at, expires_at${laneId === undefined ? '' : ', lane_id, ready_at'})
  select m.id, ${attempt}, m.tenant, m.queue, m.priority, ${dueAt}, m.expires_at${laneId === undefined ? '' : `, ${laneId}, now()`}
  from ${source}${
    where === undefined
      ? ''
      : `
  where ${where}`
  }
)`
}

/** Deletes the deliveries of the rows in `moved m` that match `where`. */
export function deleteDeliveries(where?: string): string {
  return `outbox as (
  delete from taskwire.deliveries d
  using moved m
  where d.task_id = any(array[m.id])${where === undefined ? '' : ` and ${where}`}
)`
}

/** The answer of most moves, as `toEvent` reads it. */
export const TRANSITION_COLUMNS =
  'm.id as "taskId", m.tenant, m.version, m.from_status as "fromStatus", m.status, m.attempt, m.at, m.reason'
