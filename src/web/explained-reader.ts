/**
 * A task together with why it does not run. They are read one after the other, and the task may start or end in between:
 * then it is read again.
 */
import type { Principal } from '../access/principal.js'
import { awaitsAttempt } from '../protocol/status.js'
import type { Task, TaskId } from '../protocol/task.js'
import type { WaitingFor } from '../protocol/waiting.js'
import { STARTING, type WaitExplainer } from '../tasks/release/wait-explainer.js'
import type { TaskReader } from './task-reader.js'

/** A task that is put back again and again could go on for ever. */
const MAX_READS = 3

export interface ExplainedTask {
  task: Task
  /** Null exactly when the task awaits no attempt. */
  waitingFor: WaitingFor | null
}

/** @throws ProblemError `task_not_found` */
export async function readExplained(
  principal: Principal,
  id: TaskId,
  { readTask, waits }: { readTask: TaskReader; waits: Pick<WaitExplainer, 'explain'> },
): Promise<ExplainedTask> {
  for (let reads = 1; ; reads += 1) {
    const task = await readTask(principal, id)
    if (!awaitsAttempt(task.status)) return { task, waitingFor: null }
    const waitingFor = await waits.explain(principal, id)
    if (waitingFor !== null) return { task, waitingFor }
    if (reads === MAX_READS) return { task, waitingFor: STARTING }
  }
}
