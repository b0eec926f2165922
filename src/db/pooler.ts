/**
 * Checks whether a connection is a session of its own. A pooler such as PgBouncer in transaction mode runs each
 * transaction in another session of the server: LISTEN receives nothing, prepared statements disappear, settings are
 * lost or come from another client. That shows late and in odd places, so it is checked at start.
 *
 * - The pooler refuses or drops the settings that our connections ask for.
 * - Two connections that are open at once are served by the same process, or one is served by several in turn.
 */
import type postgres from 'postgres'
import { StartupError } from '../startup-error.js'

/** DATABASE_URL leads to a pooler that Taskwire cannot work with. */
export class PooledConnectionError extends StartupError {
  override readonly name: string = 'PooledConnectionError'
  constructor(server: string) {
    super(
      `DATABASE_URL leads through a connection pooler (${server}) that shares sessions between clients or drops their settings, as PgBouncer does in transaction mode. ` +
        `Point it at PostgreSQL itself; Taskwire has its own connection pools.`,
    )
  }
}

/** How often each of the two connections is asked for the process that serves it. */
const ROUNDS = 5

/** @see https://www.pgbouncer.org/config.html#ignore_startup_parameters */
export function isRefusedByPooler(error: unknown): boolean {
  return error instanceof Error && /unsupported startup parameter/i.test(error.message)
}

/**
 * @param client connected with `STATEMENT_SETTINGS`
 * @param connect opens another such client
 * @throws PooledConnectionError
 */
export async function assertOwnSession(
  client: postgres.Sql,
  connect: () => postgres.Sql,
  server: string,
): Promise<void> {
  const other = connect()
  try {
    const served = { mine: new Set<number>(), others: new Set<number>() }
    for (let round = 0; round < ROUNDS; round += 1) {
      served.mine.add(await readProcess(client, server))
      served.others.add(await readProcess(other, server))
    }
    const isApart =
      served.mine.size === 1 && served.others.size === 1 && ![...served.mine].some((pid) => served.others.has(pid))
    if (!isApart) throw new PooledConnectionError(server)
  } finally {
    await other.end({ timeout: 1 })
  }
}

/** Sent as a simple query, which needs no prepared statement. */
async function readProcess(client: postgres.Sql, server: string): Promise<number> {
  const [row] = await client.unsafe<{ pid: number; seqscan: string; jit: string }[]>(
    `select pg_backend_pid() as pid, current_setting('enable_seqscan') as seqscan, current_setting('jit') as jit`,
  )
  if (row?.seqscan !== 'off' || row.jit !== 'off') throw new PooledConnectionError(server)
  return row.pid
}
