/** Reads of single tasks, in batches as writes are. */
import type { Principal } from '../access/principal.js'
import type { Database } from '../db/database.js'
import { isRefusedStatement } from '../db/refused-data.js'
import type { Task, TaskId } from '../protocol/task.js'
import { readTasks } from '../store/reads/tasks.js'
import { createBatcher } from '../timing/batcher.js'
import { ProblemError } from './problem.js'

/** Tasks per statement: together a few megabytes at most, unless all of them have the maximum size. */
const MAX_READS_PER_STATEMENT = 64

/** The task as it is after the call. @throws ProblemError `task_not_found` */
export type TaskReader = (principal: Principal, id: TaskId) => Promise<Task>

interface Asked {
  principal: Principal
  id: TaskId
}

/** A reader of single tasks: reads that arrive together share one statement, which starts after each of them was requested. */
export function createTaskReader(db: Database): TaskReader {
  const reads = createBatcher<Asked, Task | undefined>({
    maxBatch: MAX_READS_PER_STATEMENT,
    isItemsFault: isRefusedStatement,
    async write(asked) {
      const ofTenant = new Map(
        await Promise.all(
          [...groupByTenant(asked)].map(
            async ([tenant, { principal, ids }]) => [tenant, await readMap(principal, db, ids)] as const,
          ),
        ),
      )
      return asked.map(({ principal, id }) => ofTenant.get(principal.tenant)?.get(id))
    },
  })
  return async (principal, id) => {
    const task = await reads.add({ principal, id })
    if (task === undefined) throw toNotFound(id)
    return task
  }
}

/** The answer when there is no such task, or when it belongs to another tenant. */
export function toNotFound(id: TaskId): ProblemError {
  return new ProblemError('task_not_found', `There is no task ${id}.`)
}

async function readMap(principal: Principal, db: Database, ids: readonly TaskId[]): Promise<Map<TaskId, Task>> {
  return new Map((await readTasks(principal, db, ids)).map((task) => [task.id, task]))
}

/** One statement per tenant; there is nearly always just one. */
function groupByTenant(asked: readonly Asked[]): Map<string, { principal: Principal; ids: TaskId[] }> {
  const groups = new Map<string, { principal: Principal; ids: TaskId[] }>()
  for (const { principal, id } of asked) {
    const group = groups.get(principal.tenant)
    if (group === undefined) groups.set(principal.tenant, { principal, ids: [id] })
    else group.ids.push(id)
  }
  return groups
}
