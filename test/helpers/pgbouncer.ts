/** A PgBouncer in front of a test's PostgreSQL. */
import { access, chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findFreePort, isPortTaken, readLogTail, spawnServer } from '../../src/services/embedded/server-process.js'
import { findDefaultUser } from '../../src/services/embedded/service-user.js'
import type { TestScope } from './services.js'

const PROGRAM = '/usr/sbin/pgbouncer'

export function hasPgBouncer(): Promise<boolean> {
  return access(PROGRAM).then(
    () => true,
    () => false,
  )
}

export interface PgBouncerOptions {
  mode: 'session' | 'transaction'
  /** Parameters that clients may request and that PgBouncer ignores. */
  ignoredParameters: string
}

/** Starts PgBouncer for the database of this URL, and returns the URL through it. */
export async function startPgBouncer(
  t: TestScope,
  databaseUrl: string,
  { mode, ignoredParameters }: PgBouncerOptions,
): Promise<string> {
  const user = await findDefaultUser()
  const { hostname, port, username, password, pathname } = new URL(databaseUrl)
  const folder = await mkdtemp(join(tmpdir(), 'taskwire-pgbouncer-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const listenPort = await findFreePort()
  const config = join(folder, 'pgbouncer.ini')
  await writeFile(
    config,
    `[databases]
* = host=${hostname} port=${port} user=${username} password=${password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listenPort}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
default_pool_size = 4
ignore_startup_parameters = ${ignoredParameters}
`,
  )
  await chmod(folder, 0o700)
  if (user !== undefined) await Promise.all([folder, config].map((path) => chown(path, user.uid, user.gid)))
  const logFile = join(folder, 'log')
  const server = await spawnServer(PROGRAM, [config], { folder, logFile, user })
  t.teardown(() => server.stop([['SIGKILL', 5_000]]))
  while (!(await isPortTaken(listenPort))) {
    if (server.hasExited()) throw new Error(`pgbouncer does not start: ${await readLogTail(logFile)}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return `postgres://${username}:${password}@127.0.0.1:${listenPort}${pathname}`
}
