/**
 * Private PostgreSQL and Redis servers for tests, which can be stopped, killed, frozen and started again on the same
 * port and data. Every server ends with the test that started it, even if the test throws.
 */
import { execFile } from 'node:child_process'
import { rmSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import postgres from 'postgres'
import { SUPERUSER } from '../../src/services/embedded/application-role.js'
import { startPostgres as startPostgresServer } from '../../src/services/embedded/postgres.js'
import { askRedis, findRedisServer, startRedis as startRedisServer } from '../../src/services/embedded/redis.js'
import type { RunningServer, UserIds } from '../../src/services/embedded/server-process.js'
import { findDefaultUser, makePrivateFolder } from '../../src/services/embedded/service-user.js'
import { settlesWithin } from '../../src/timing/deadline.js'
import { ADMIN_PASSWORD, copyTemplate } from './postgres-template.js'

/** The part of a tap test that the helpers need. */
export interface TestScope {
  teardown(action: () => unknown): void
}

/** A server under test. `start` brings it back on the same port with the same data. */
export interface TestServer {
  readonly url: string
  readonly port: number
  stop(): Promise<void>
  start(): Promise<void>
  /** Sends SIGKILL to all its processes, as when the machine loses power. */
  kill(): Promise<void>
  /** Freezes all its processes: connections stay open, and none is answered. */
  pause(): Promise<void>
  resume(): Promise<void>
}

export interface TestPostgres extends TestServer {
  /**
   * The same database as the superuser, for actions that the application's role may not take: server settings, other
   * roles.
   */
  readonly adminUrl: string
  /**
   * Creates another database, which is empty, and returns its URL. It is a copy of `template` if given, to which no client may be
   * connected.
   */
  createDatabase(options?: { template?: string }): Promise<string>
}

export interface TestRedis extends TestServer {
  /** FLUSHALL: deletes all data. */
  flush(): Promise<void>
}

/** Data that a test throws away needs no syncing to disk. */
const TEST_SETTINGS = { fsync: 'off', full_page_writes: 'off', shared_buffers: '32MB', max_wal_size: '256MB' }

/** The servers to clean up if this process ends without its teardowns. */
const running = new Set<RunningServer>()
const folders = new Set<string>()
process.once('exit', () => {
  for (const server of running) signalIfAlive(server.pid, 'SIGKILL')
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
})

/** What this machine has stays the same, and each of these starts programs to find out. */
const findUser = once(findDefaultUser)
const findRedis = once(findRedisServer)

function once<T>(find: () => Promise<T>): () => Promise<T> {
  let found: Promise<T> | undefined
  return () => (found ??= find())
}

/**
 * Starts a PostgreSQL for this test. Its URL is that of the application's role, to a database after all migrations; with
 * `isEmpty`, to one without any tables.
 */
export async function startPostgres(t: TestScope, { isEmpty = false } = {}): Promise<TestPostgres> {
  const user = await findUser()
  const folder = await makeTestFolder(t, user)
  await copyTemplate(isEmpty ? 'empty' : 'migrated', folder, user)
  const server = await controlServer(t, (port) => startPostgresServer({ folder, user, port, settings: TEST_SETTINGS }))
  let count = 0
  const adminUrl = server.url.replace(/\/\/[^@]*@/, `//${SUPERUSER}:${ADMIN_PASSWORD}@`)
  return {
    ...server,
    adminUrl,
    async createDatabase(options = {}) {
      // Connects to the database `postgres`, so that the server's own database can be the template.
      const client = postgres(withDatabase(adminUrl, 'postgres'), { max: 1, onnotice: () => {} })
      try {
        const name = `test_${process.pid}_${++count}`
        await client.unsafe(
          `create database ${name} owner taskwire${options.template === undefined ? '' : ` template "${options.template}"`}`,
        )
        return withDatabase(server.url, name)
      } finally {
        await client.end()
      }
    },
  }
}

function withDatabase(url: string, name: string): string {
  return url.replace(/[^/]*$/, name)
}

/** Whether this machine has a Redis; the tests of the Redis broker need one. */
export async function hasRedisServer(): Promise<boolean> {
  return (await findRedis()) !== undefined
}

/** Starts a Redis for this test. */
export async function startRedis(t: TestScope): Promise<TestRedis> {
  const program = await findRedis()
  if (program === undefined) throw new Error('redis-server or valkey-server must be installed to run this test')
  const user = await findUser()
  const folder = await makeTestFolder(t, user)
  const server = await controlServer(t, (port) => startRedisServer({ program, folder, user, port }))
  const { password } = new URL(server.url)
  return {
    ...server,
    async flush() {
      await askRedis(server.port, password, 'FLUSHALL')
    },
  }
}

/** How long a server may take to end by itself before it is killed. */
const QUIT_GRACE_MS = 10_000

async function controlServer(
  t: TestScope,
  startOn: (port: number | undefined) => Promise<RunningServer>,
): Promise<TestServer> {
  let server = await startOn(undefined)
  let isPaused = false
  running.add(server)
  const { url, port } = server
  const kill = async () => {
    if (!running.has(server)) return
    await signalAll(server.pid, 'SIGKILL')
    await server.exited
    running.delete(server)
  }
  /**
   * A killed PostgreSQL leaves a segment of shared memory behind, and a machine has 4,096 of them. SIGQUIT ends it as
   * quickly, and it removes the segment.
   */
  const quit = async () => {
    if (!running.has(server)) return
    if (isPaused) await signalAll(server.pid, 'SIGCONT')
    signalIfAlive(server.pid, 'SIGQUIT')
    await settlesWithin(server.exited, QUIT_GRACE_MS)
    await kill()
  }
  t.teardown(quit)
  return {
    url,
    port,
    kill,
    async stop() {
      await server.stop()
      running.delete(server)
    },
    async start() {
      server = await startOn(port)
      running.add(server)
    },
    async pause() {
      isPaused = true
      await signalAll(server.pid, 'SIGSTOP')
    },
    async resume() {
      await signalAll(server.pid, 'SIGCONT')
      isPaused = false
    },
  }
}

async function makeTestFolder(t: TestScope, user: UserIds | undefined): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'taskwire-test-'))
  folders.add(folder)
  // Teardowns run in reverse order, so the server has stopped by then.
  t.teardown(async () => {
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    folders.delete(folder)
  })
  await makePrivateFolder(folder, user)
  return folder
}

/** Signals a process and its children. It is frozen first, so that it cannot start another child meanwhile. */
async function signalAll(pid: number, signal: NodeJS.Signals): Promise<void> {
  if (signal !== 'SIGCONT' && !signalIfAlive(pid, 'SIGSTOP')) return
  for (const child of await findChildren(pid)) signalIfAlive(child, signal)
  signalIfAlive(pid, signal)
}

/** The ids of a process's children. */
export async function findChildren(pid: number): Promise<number[]> {
  const parents = await readParents()
  return [...parents].filter(([, parent]) => parent === pid).map(([id]) => id)
}

/** The ids of all processes, each with that of its parent. */
export async function readParents(): Promise<Map<number, number | undefined>> {
  if (process.platform !== 'linux') {
    const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid='])
    const rows = stdout.split('\n').map((line) => line.trim().split(/\s+/).map(Number))
    return new Map(rows.map(([id = 0, parent]) => [id, parent]))
  }
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  return new Map(await Promise.all(ids.map(async (id) => [Number(id), await readParent(id)] as const)))
}

async function readParent(pid: string): Promise<number | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // The name in parentheses may contain any characters; the state and the parent follow it.
  const parent = /\) \S (\d+)/.exec(text)?.[1]
  return parent === undefined ? undefined : Number(parent)
}

function signalIfAlive(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}
