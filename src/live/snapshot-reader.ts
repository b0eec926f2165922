import { setImmediate as nextTurn } from 'node:timers/promises'
import type { TaskId } from '../protocol/task.js'
import type { WatchedTask } from './room.js'

const MAX_BATCH = 500

interface Batch {
  ids: Set<TaskId>
  tasks: Promise<Map<TaskId, WatchedTask>>
}

/** Reads one task; calls in the same turn share one query. Undefined: no such task. */
export function createSnapshotReader(
  readTasks: (ids: TaskId[]) => Promise<readonly WatchedTask[]>,
): (id: TaskId) => Promise<WatchedTask | undefined> {
  let gathering: Batch | undefined

  function openBatch(): Batch {
    const ids = new Set<TaskId>()
    const batch: Batch = { ids, tasks: nextTurn().then(() => readBatch(batch)) }
    return batch
  }

  async function readBatch(batch: Batch): Promise<Map<TaskId, WatchedTask>> {
    if (gathering === batch) gathering = undefined
    const tasks = await readTasks([...batch.ids])
    return new Map(tasks.map((task) => [task.id, task]))
  }

  return async (id) => {
    if (gathering === undefined || gathering.ids.size >= MAX_BATCH) gathering = openBatch()
    const { ids, tasks } = gathering
    ids.add(id)
    return (await tasks).get(id)
  }
}
