/** The environment of a benchmark: private, durable PostgreSQL and Redis, and the roles as real processes. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { migrateDatabase } from '../../src/db/migrate.js'
import { startPostgres } from '../../src/services/embedded/postgres.js'
import { findRedisServer, startRedis } from '../../src/services/embedded/redis.js'
import { findDefaultUser, makePrivateFolder } from '../../src/services/embedded/service-user.js'
import { launch, MAIN, type RoleProcess } from '../helpers/roles.js'

export interface Stack {
  databaseUrl: string
  /** The first process of PostgreSQL; the others are its children. */
  postgresPid: number
  redisUrl: string
  /** Starts a role and resolves once it is ready. The web role has an address. */
  startRole(role: 'web' | 'worker' | 'relay'): Promise<RoleProcess>
  /**
   * Starts a module of this folder as a process. Like a role, it sends `{ type: 'ready', address }` once it is ready.
   */
  startModule(file: string): Promise<RoleProcess>
  close(): Promise<void>
}

export async function openStack(): Promise<Stack> {
  const program = await findRedisServer()
  if (program === undefined) throw new Error('the benchmark needs redis-server or valkey-server on PATH')
  const user = await findDefaultUser()
  const folders: string[] = []
  const makeFolder = async () => {
    const folder = await mkdtemp(join(tmpdir(), 'taskwire-bench-'))
    folders.push(folder)
    await makePrivateFolder(folder, user)
    return folder
  }
  const postgres = await startPostgres({ folder: await makeFolder(), user })
  const redis = await startRedis({ program, folder: await makeFolder(), user })
  await migrateDatabase(postgres.url)
  const env = { DATABASE_URL: postgres.url, REDIS_URL: redis.url, PORT: '0', LOG_LEVEL: 'warn' }
  const processes: RoleProcess[] = []

  const start = async (file: string, args: string[] = []) => {
    const started = await launch(file, { args, env })
    processes.push(started)
    return started
  }

  return {
    databaseUrl: postgres.url,
    postgresPid: postgres.pid,
    redisUrl: redis.url,
    startRole: (role) => start(MAIN, [role]),
    startModule: (file) => start(fileURLToPath(new URL(file, import.meta.url))),
    async close() {
      for (const started of processes.toReversed()) await started.stop()
      await redis.stop()
      await postgres.stop()
      await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })))
    },
  }
}

/** Resident memory of a process, in MiB (Linux). */
export async function readResidentMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

/** The median and the range of the values, as text. */
export function describe(values: readonly number[], digits = 0): string {
  return `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)})`
}
