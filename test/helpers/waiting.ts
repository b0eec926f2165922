/** A web process whose tasks wait, with workers as rows, and what it says about them. */
import type { Test } from 'tap'
import { serviceOf } from '../../src/access/principal.js'
import type { Database } from '../../src/db/database.js'
import type { StreamMessage, WaitingMessage } from '../../src/protocol/stream.js'
import type { Task } from '../../src/protocol/task.js'
import type { WaitingFor } from '../../src/protocol/waiting.js'
import type { NewTask } from '../../src/store/tasks/create.js'
import { startApp, type TestApp } from './app.js'
import { openTestDatabase } from './database.js'
import { toReleaseStore, type ReleaseStore } from './release-store.js'
import type { TestScope } from './services.js'
import { watch } from './watch.js'

/** The type of the tasks, which the workers know. */
const TYPE = 'demo.sleep'

export interface Waiting extends Omit<ReleaseStore, 'openQueue' | 'claim'> {
  app: TestApp
  db: Database
  /** The name of a new queue with one worker. */
  openQueue(slots?: number, types?: string[]): Promise<string>
  one(task: Partial<NewTask>): Promise<string>
  start(id: string, attempt?: number): Promise<unknown>
  ask(id: string, headers?: Record<string, string>): Promise<Response>
  read(id: string, headers?: Record<string, string>): Promise<Task>
  /** What REST says. A stream says the same: at once, or when it has noticed a change that was made just now. */
  why(t: Pick<Test, 'equal'>, id: string): Promise<WaitingFor>
}

export async function openWaiting(t: TestScope): Promise<Waiting> {
  const app = await startApp(t, [], {}, {}, async ({ headers }) =>
    serviceOf(String(headers['x-tenant'] ?? 'default'), 'test'),
  )
  const { claim, ...store } = toReleaseStore(await openTestDatabase(t, app.databaseUrl), [TYPE])
  const ask = (id: string, headers = {}) => fetch(`${app.address}/api/tasks/${id}`, { headers })
  const read = async (id: string, headers = {}) => (await (await ask(id, headers)).json()) as Task
  return {
    ...store,
    app,
    openQueue: (slots = 10, types) => store.openQueue(slots, types),
    one: async (task) => (await store.store(1, task))[0] ?? '',
    start: claim,
    ask,
    read,
    async why(t, id) {
      const { waitingFor } = await read(id)
      if (!waitingFor) throw new Error('it does not wait')
      const watcher = watch(app.address, `/ws/tasks/${id}`)
      await watcher.until(
        (message) => isWaiting(message) && withoutStart(message.waitingFor) === withoutStart(waitingFor),
      )
      watcher.terminate()
      t.equal(watcher.messages[0]?.type, 'snapshot')
      return waitingFor
    },
  }
}

export const isWaiting = (message: StreamMessage): message is WaitingMessage => message.type === 'waiting'

const withoutStart = (waitingFor: WaitingFor | null) => JSON.stringify({ ...waitingFor, start: null })
