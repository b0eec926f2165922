/** A context for running a handler outside a worker: it collects the progress, and has no database unless given one. */
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import type { Database } from '../../src/db/database.js'
import type { TaskContext } from '../../src/tasks/definition.js'

export interface ContextOptions {
  signal?: AbortSignal
  tenant?: string
  db?: Database
}

export interface CollectedProgress {
  done: number
  total: number | undefined
  message: string | undefined
}

export function createContext(options: ContextOptions = {}): { context: TaskContext; progress: CollectedProgress[] } {
  const progress: CollectedProgress[] = []
  const context: TaskContext = {
    taskId: '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10',
    tenant: options.tenant ?? 'default',
    title: 'a test',
    attempt: 1,
    signal: options.signal ?? new AbortController().signal,
    log: pino({ level: 'silent' }),
    get db(): Database {
      if (options.db === undefined) throw new Error('this test has no database')
      return options.db
    },
    once: (key, effect) => effect({ idempotencyKey: key }),
    transaction: (work) => work(context.db.orm),
    fence: async () => 1,
    heartbeat: () => {},
    sleep: async (milliseconds) => void (await sleep(milliseconds, undefined, { signal: context.signal })),
    create: () => Promise.reject(new Error('this test makes no tasks')),
    progress: (done, total, message) => void progress.push({ done, total, message }),
  }
  return { context, progress }
}
