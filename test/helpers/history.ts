/**
 * Proves from the stored data that nothing was lost, stuck, duplicated or reordered. Used by the fault tests and the
 * chaos run.
 */
import type { Database } from '../../src/db/database.js'
import { IDLE_STATUSES, isFinal, TRANSITIONS, type Status } from '../../src/protocol/status.js'

export interface StoredTransition {
  taskId: string
  version: number
  from: Status | null
  status: Status
  attempt: number
  /** The fields that an edit changed. */
  edited?: string[] | null
}

interface StoredAttempt {
  taskId: string
  attempt: number
  startedMs: number
  finishedMs: number
}

export interface Stored {
  /** The current state of each task. */
  tasks: { id: string; status: Status; version: number }[]
  /** Ordered by task and version. */
  transitions: StoredTransition[]
  /** The attempts that have ended, ordered by task and attempt. */
  attempts: StoredAttempt[]
}

export async function readStored(db: Database): Promise<Stored> {
  const run = <Row>(text: string) => db.run<Row>({ name: `history_${text.length}`, text }, [])
  return {
    tasks: await run('select id, status, version from taskwire.tasks'),
    transitions: await run(
      'select task_id as "taskId", version, from_status as "from", status, attempt, to_json(edited) as edited from taskwire.transitions order by task_id, version',
    ),
    attempts:
      await run(`select task_id as "taskId", attempt, extract(epoch from started_at)::float8 * 1000 as "startedMs",
      extract(epoch from finished_at)::float8 * 1000 as "finishedMs" from taskwire.attempts order by task_id, attempt`),
  }
}

/** Returns a line for each violation. `accepted` holds the ids that clients were promised. */
export function findViolations({ tasks, transitions, attempts }: Stored, accepted: readonly string[]): string[] {
  const violations: string[] = []
  const statusOf = new Map(tasks.map((task) => [task.id, task]))
  for (const id of accepted) {
    const task = statusOf.get(id)
    if (task === undefined) violations.push(`${id} was accepted and does not exist`)
    else if (!isFinal(task.status)) violations.push(`${id} has not ended: ${task.status}`)
  }
  for (const [id, story] of groupByTask(transitions)) {
    for (const [index, { version, from, status, edited }] of story.entries()) {
      const before = story[index - 1]?.status ?? null
      if (version !== index + 1) violations.push(`${id} has version ${version} after ${index}`)
      if (from !== before) violations.push(`${id} version ${version} starts from ${from}, but the task was ${before}`)
      const isEdit = edited && edited.length > 0 && before === status && IDLE_STATUSES.includes(status)
      if (before !== null && !isEdit && !(TRANSITIONS[before] as readonly Status[]).includes(status))
        violations.push(`${id} went from ${before} to ${status}`)
    }
    const last = story.at(-1)
    const task = statusOf.get(id)
    if (last?.status !== task?.status || last?.version !== task?.version)
      violations.push(`${id} is ${task?.status}, but its history ends with ${last?.status}`)
  }
  for (const [id, runs] of groupByTask(attempts)) {
    for (const [index, run] of runs.entries()) {
      const before = runs[index - 1]
      if (before && run.startedMs < before.finishedMs)
        violations.push(`${id}: attempt ${run.attempt} began before attempt ${before.attempt} had ended`)
    }
  }
  return violations
}

export function groupByTask<Row extends { taskId: string }>(rows: readonly Row[]): Map<string, Row[]> {
  const groups = new Map<string, Row[]>()
  for (const row of rows) {
    const known = groups.get(row.taskId)
    if (known) known.push(row)
    else groups.set(row.taskId, [row])
  }
  return groups
}
