/** All roles as real processes on private servers, for tests that kill parts of them. */
import { randomUUID } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { migrateBroker } from '../../src/broker/open-broker.js'
import type { Database } from '../../src/db/database.js'
import type { CreateTask } from '../../src/protocol/http.js'
import { openTestDatabase } from './database.js'
import { findViolations, readStored } from './history.js'
import { startRole, type RoleProcess } from './roles.js'
import {
  hasRedisServer,
  startPostgres,
  startRedis,
  type TestPostgres,
  type TestRedis,
  type TestScope,
} from './services.js'

export type Role = 'web' | 'worker' | 'relay'

/** A role under supervision: it is started again whenever it dies. */
export interface KeptRole {
  readonly process: RoleProcess
  /** How many times it died and was started again. */
  readonly restarts: number
  /** Stops it for good. */
  stop(): Promise<void>
}

export interface Scene {
  postgres: TestPostgres
  redis: TestRedis | undefined
  db: Database
  env: Record<string, string>
  start(role: Role, env?: Record<string, string>): Promise<RoleProcess>
  /** @param first variables of the first process only, not of its successors */
  keep(role: Role, first?: Record<string, string>, env?: Record<string, string>): Promise<KeptRole>
  /** The current addresses of the web processes. */
  addresses(): string[]
  /** Creates a task. Retries with the same key until it is accepted, and returns the promised id. */
  create(body: CreateTask): Promise<string>
  /** Waits until all tasks have ended. */
  ended(ids: readonly string[], withinMs?: number): Promise<void>
  /** Resolves once all tasks are running. */
  running(ids: readonly string[]): Promise<void>
  /** The violations in the stored data; see `history.ts`. */
  violations(accepted: readonly string[]): Promise<string[]>
}

export async function openScene(t: TestScope, settings: Record<string, string> = {}): Promise<Scene> {
  const postgres = await startPostgres(t)
  const redis = (await hasRedisServer()) ? await startRedis(t) : undefined
  const db = await openTestDatabase(t, postgres.url)
  await migrateBroker(postgres.url)
  const env = {
    DATABASE_URL: postgres.url,
    ...(redis && { REDIS_URL: redis.url }),
    ARTIFACTS_DIR: join(tmpdir(), `taskwire-test-artifacts-${process.pid}`),
    CLAIM_WINDOW_SECONDS: '1',
    ATTEMPT_LEASE_SECONDS: '5',
    SHUTDOWN_GRACE_SECONDS: '1',
    ...settings,
  }
  let webs: { readonly process: RoleProcess }[] = []

  const start = async (role: Role, extra: Record<string, string> = {}) => {
    const process = await startRole(t, role, { ...env, ...extra })
    if (role === 'web') webs.push({ process })
    return process
  }

  return {
    postgres,
    redis,
    db,
    env,
    start,
    async keep(role, first = {}, extra = {}) {
      let process = await startRole(t, role, { ...env, ...extra, ...first })
      let isStopped = false
      let restarts = 0
      /** A role refuses to start while its servers are away. */
      const again = async (): Promise<void> => {
        while (!isStopped) {
          try {
            process = await startRole(t, role, { ...env, ...extra })
            if (isStopped) await process.kill()
            return watch()
          } catch {
            await sleep(300)
          }
        }
      }
      const watch = () => {
        process.child.once('exit', () => {
          if (isStopped) return
          restarts += 1
          void again()
        })
      }
      watch()
      const kept: KeptRole = {
        get process() {
          return process
        },
        get restarts() {
          return restarts
        },
        async stop() {
          isStopped = true
          await process.stop()
          webs = webs.filter((web) => web !== kept)
        },
      }
      t.teardown(() => (isStopped = true))
      if (role === 'web') webs.push(kept)
      return kept
    },
    addresses: () => webs.map(({ process }) => process.address),
    async create(body) {
      const headers = { 'content-type': 'application/json', 'idempotency-key': `"${randomUUID()}"` }
      for (let turn = 0; ; turn += 1) {
        const { address } = webs[turn % webs.length]?.process ?? { address: '' }
        try {
          const answer = await fetch(`${address}/api/tasks`, {
            method: 'POST',
            headers,
            body: JSON.stringify(body),
            signal: AbortSignal.timeout(5_000),
          })
          // 200: a task with the debounce key took the change.
          if (answer.ok) return ((await answer.json()) as { id: string }).id
          if (answer.status < 500) throw new TypeError(`refused with ${answer.status}: ${await answer.text()}`)
        } catch (error) {
          if (error instanceof TypeError && error.message.startsWith('refused')) throw error
        }
        await sleep(100)
      }
    },
    async ended(ids, withinMs = 300_000) {
      const text = `select count(*)::integer as count from taskwire.tasks where id = any($1::text::uuid[]) and finished_at is not null`
      const deadlineMs = performance.now() + withinMs
      for (;;) {
        const [row] = await db
          .run<{ count: number }>({ name: 'scene_ended', text }, [`{${ids.join()}}`])
          .catch(() => [])
        if (row?.count === new Set(ids).size) return
        if (performance.now() > deadlineMs) throw new Error(`${row?.count ?? 'no'} of ${ids.length} tasks have ended`)
        await sleep(50)
      }
    },
    async running(ids) {
      const text = `select count(*)::integer as count from taskwire.leases where task_id = any($1::text::uuid[])`
      while (
        (await db.run<{ count: number }>({ name: 'scene_running', text }, [`{${ids.join()}}`]))[0]?.count !== ids.length
      )
        await sleep(20)
    },
    violations: async (accepted) => findViolations(await readStored(db), accepted),
  }
}
