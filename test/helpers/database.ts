/** Databases with the schema applied, over either driver, and stored test tasks. */
import pg from 'pg'
import { v7 as uuidv7 } from 'uuid'
import type { Database } from '../../src/db/database.js'
import { migrateDatabase } from '../../src/db/migrate.js'
import { openDatabase } from '../../src/db/open.js'
import { wrapPool } from '../../src/db/wrap-pool.js'
import { createTasks, type NewTask } from '../../src/store/tasks/create.js'
import type { TestScope } from './services.js'

/** No statement of a test is late because the machine is slow. */
const DEADLINE_MS = 120_000

export const DRIVERS = ['node-postgres', 'postgres.js'] as const

/** Opens a migrated database; closed with the test. */
export async function openTestDatabase(
  t: TestScope,
  url: string,
  driver: (typeof DRIVERS)[number] = 'postgres.js',
): Promise<Database> {
  await migrateDatabase(url)
  if (driver === 'postgres.js') {
    const db = openDatabase(url, { maxConnections: 8, deadlineMs: DEADLINE_MS })
    t.teardown(() => db.close())
    return db
  }
  const pool = new pg.Pool({ connectionString: url, max: 8 })
  pool.on('error', () => {})
  t.teardown(() => pool.end())
  return wrapPool(pool)
}

export function newTask(overrides: Partial<NewTask> = {}): NewTask {
  return {
    id: uuidv7(),
    tenant: 'default',
    type: 'demo.sleep',
    title: 'a test task',
    priority: 0,
    tags: [],
    payload: {},
    runAt: null,
    delayMs: null,
    queue: 'default',
    maxAttempts: 1,
    ...overrides,
  }
}

/** Stores tasks and returns their ids. */
export async function storeTasks(db: Database, count: number, overrides: Partial<NewTask> = {}): Promise<string[]> {
  const tasks = Array.from({ length: count }, () => newTask(overrides))
  await createTasks(db, tasks, 60_000)
  return tasks.map((task) => task.id)
}
