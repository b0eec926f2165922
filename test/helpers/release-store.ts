/** A store with gated tasks, for tests of what holds them and of what lets them go. */
import type { Database } from '../../src/db/database.js'
import { claimAttemptsInSlots } from '../../src/store/attempts/claim.js'
import { settleAttemptsIfCurrent, type Settlement } from '../../src/store/attempts/settle.js'
import { releaseDeliveries } from '../../src/store/release/release.js'
import { createTasks, type NewTask } from '../../src/store/tasks/create.js'
import { recordHeartbeat } from '../../src/store/workers.js'
import { newTask, openTestDatabase } from './database.js'
import { startPostgres, type TestScope } from './services.js'

export interface ReleaseStore {
  db: Database
  run<Row>(text: string): Promise<Row[]>
  /** The name of a new queue with a worker that has this many slots, and knows these types. */
  openQueue(slots: number, types?: string[]): Promise<string>
  /** Stores tasks that wait in their lanes, unless told otherwise. */
  store(count: number, task: Partial<NewTask>): Promise<string[]>
  /** The tasks released by one release. */
  release(): Promise<string[]>
  /** What is answered: the gate of a claimed attempt, or `isGated`. */
  claim(taskId: string, attempt?: number): Promise<{ gate?: string; isGated?: boolean } | undefined>
  end(taskId: string, more?: Partial<Settlement>): Promise<unknown>
}

export async function openReleaseStore(t: TestScope): Promise<ReleaseStore> {
  const server = await startPostgres(t)
  return toReleaseStore(await openTestDatabase(t, server.url))
}

/** The store of a database that is open already. @param types those that the workers of its queues know */
export function toReleaseStore(db: Database, types: string[] = []): ReleaseStore {
  let names = 0
  return {
    db,
    run: (text) => db.run({ name: `test_${(names += 1)}`, text }, []),
    async openQueue(slots, known = types) {
      const queue = `q${(names += 1)}`
      const worker = {
        id: `w-${queue}`,
        host: 'h',
        pid: 1,
        version: '0',
        types: known,
        isStopping: false,
        isDraining: false,
      }
      await recordHeartbeat(db, { ...worker, queues: [{ name: queue, slots, running: 0 }] }, 600_000)
      return queue
    },
    async store(count, task) {
      const tasks = Array.from({ length: count }, () => newTask({ isGated: true, isHandedOver: false, ...task }))
      await createTasks(db, tasks, 60_000)
      return tasks.map(({ id }) => id)
    },
    release: async () => (await releaseDeliveries(db, 60_000)).deliveries.map(({ taskId }) => taskId),
    claim: async (taskId, attempt = 1) =>
      (await claimAttemptsInSlots(db, [{ taskId, attempt }], 'w', 60_000, []))[0] as { gate?: string } | undefined,
    end: (taskId, more = {}) =>
      settleAttemptsIfCurrent(db, [
        { taskId, attempt: 1, outcome: 'completed', status: 'COMPLETED', reason: null, ...more },
      ]),
  }
}
