/** Reads snapshots that are asked for at about the same time in one query. */
import type { Task, TaskId } from '../protocol/task.js'

const MAX_BATCH = 500

export interface SnapshotReader {
  /** The task, or undefined when there is none. Rejects when it cannot be read. */
  read(id: TaskId): Promise<Task | undefined>
}

export function createSnapshotReader(readTasks: (ids: TaskId[]) => Promise<Task[]>): SnapshotReader {
  let waiting = new Map<TaskId, PromiseWithResolvers<Task | undefined>>()

  async function readBatch(batch: typeof waiting): Promise<void> {
    try {
      const tasks = new Map((await readTasks([...batch.keys()])).map((task) => [task.id, task]))
      for (const [id, { resolve }] of batch) resolve(tasks.get(id))
    } catch (error) {
      for (const { reject } of batch.values()) reject(error)
    }
  }

  function flush(): void {
    const batch = waiting
    waiting = new Map()
    void readBatch(batch)
  }

  return {
    read(id) {
      const known = waiting.get(id)
      if (known !== undefined) return known.promise
      if (waiting.size === 0) setImmediate(() => waiting.size > 0 && flush())
      const read = withResolvers<Task | undefined>()
      waiting.set(id, read)
      if (waiting.size === MAX_BATCH) flush()
      return read.promise
    },
  }
}

interface PromiseWithResolvers<T> {
  promise: Promise<T>
  resolve(value: T): void
  reject(error: unknown): void
}

/** `Promise.withResolvers`, which Node 20 does not have. */
function withResolvers<T>(): PromiseWithResolvers<T> {
  let resolve: (value: T) => void = () => {}
  let reject: (error: unknown) => void = () => {}
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  return { promise, resolve, reject }
}
