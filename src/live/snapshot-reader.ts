import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Principal } from '../access/principal.js'
import type { TaskId } from '../protocol/task.js'
import type { WatchedTask } from './room.js'

const MAX_BATCH = 500

interface Batch {
  ids: Set<TaskId>
  tasks: Promise<Map<TaskId, WatchedTask>>
}

/** Reads one task; calls of one tenant in the same turn share one query. Undefined: the tenant has no such task. */
export function createSnapshotReader(
  readTasks: (principal: Principal, ids: TaskId[]) => Promise<readonly WatchedTask[]>,
): (principal: Principal, id: TaskId) => Promise<WatchedTask | undefined> {
  /** By tenant. */
  const gathering = new Map<string, Batch>()

  function openBatch(principal: Principal): Batch {
    const ids = new Set<TaskId>()
    const batch: Batch = { ids, tasks: nextTurn().then(() => readBatch(principal, batch)) }
    gathering.set(principal.tenant, batch)
    return batch
  }

  async function readBatch(principal: Principal, batch: Batch): Promise<Map<TaskId, WatchedTask>> {
    if (gathering.get(principal.tenant) === batch) gathering.delete(principal.tenant)
    const tasks = await readTasks(principal, [...batch.ids])
    return new Map(tasks.map((task) => [task.id, task]))
  }

  return async (principal, id) => {
    const known = gathering.get(principal.tenant)
    const { ids, tasks } = known === undefined || known.ids.size >= MAX_BATCH ? openBatch(principal) : known
    ids.add(id)
    return (await tasks).get(id)
  }
}
