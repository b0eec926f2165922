/**
 * The roles of the embedded PostgreSQL.
 *
 * The application logs in as `taskwire`, which owns its database and is not a superuser: SQL injected into the
 * application reaches its tables, but neither files nor programs of this machine. The superuser has no password while
 * the server requires one, so no client can log in as it. Its work is done in single-user mode (`postgres --single`),
 * before the server runs.
 *
 * In data of earlier versions `taskwire` is the superuser. There the superuser is renamed, and a new `taskwire` takes
 * over its password and everything it owned in its databases. Each step may be interrupted and is repeated at the next
 * start, until the mark in the data folder says that it is done.
 */
import { chown, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { StartupError } from '../../startup-error.js'
import { retry } from '../../timing/retry.js'
import type { PostgresBinaries } from './postgres-binaries.js'
import { runProgram, type UserIds } from './server-process.js'

/** The role of the application, and the name of the database it owns. */
export const APPLICATION = 'taskwire'
export const SUPERUSER = 'taskwire_superuser'

/** A cluster without a running server. */
export interface OfflineCluster {
  binaries: PostgresBinaries
  /** The working folder of the programs. */
  folder: string
  dataFolder: string
  user: UserIds | undefined
}

/** Records that the role was created. In the data folder, so that it moves with the data. */
const MARK = 'taskwire.role'
/** The path is the same seen from `src/services` and from `dist/services`. */
const SQL_FOLDER = new URL('../../../drizzle/roles/', import.meta.url)
/** Processes of a killed server are gone within this time. */
const BUSY_DEADLINE_MS = 30_000
const BUSY_PAUSES = { firstMs: 100, maxMs: 100 }

/** The superuser's password, as stored, becomes the application's. The superuser then has none. */
const PASS_ON_PASSWORD = `do $$
declare
  stored text := (select rolpassword from pg_authid where oid = 10);
begin
  if stored is null then return; end if;
  execute format('alter role ${APPLICATION} password %L', stored);
  alter role ${SUPERUSER} password null;
end $$;`

/** Creates the role and its database in a new cluster whose superuser has the application's password. */
export async function makeApplicationRole(cluster: OfflineCluster): Promise<void> {
  await runOffline(cluster, 'postgres', [
    `${await readSql('role.sql')}${PASS_ON_PASSWORD}`,
    `create database ${APPLICATION} owner ${APPLICATION};`,
  ])
  await setMark(cluster)
}

/**
 * Creates the role in a cluster of an earlier version. Does nothing when that was already done.
 * @throws StartupError with a one-line message
 */
export async function giveApplicationRole(cluster: OfflineCluster): Promise<void> {
  const isDone = await stat(join(cluster.dataFolder, MARK)).then(
    () => true,
    () => false,
  )
  if (isDone) return
  try {
    const ownership = await readSql('ownership.sql')
    for (const database of await listDatabases(cluster))
      await runOffline(cluster, database, [`${await readSql('role.sql')}${ownership}`])
    // Last: the password is the only mark of progress, and the role must own everything before it can log in.
    await runOffline(cluster, 'postgres', [`${await readSql('role.sql')}${PASS_ON_PASSWORD}`])
    await setMark(cluster)
  } catch (error) {
    const reason =
      error instanceof Error
        ? (error.message.split('\n').findLast((line) => /error|fatal/i.test(line)) ?? error.message)
        : String(error)
    throw new StartupError(`cannot create a non-superuser role for the database in ${cluster.folder}: ${reason}`)
  }
}

/** The databases owned by the superuser, except PostgreSQL's own. */
async function listDatabases(cluster: OfflineCluster): Promise<string[]> {
  const output = await runOffline(cluster, 'postgres', [
    `select datname from pg_database where datdba = 10 and not datistemplate and datname <> 'postgres';`,
  ])
  return [...output.matchAll(/datname = "([^"]+)"\t/g)].map((match) => match[1] ?? '')
}

/** Runs commands as the superuser, each atomically, and returns their output. */
async function runOffline(
  { binaries, folder, dataFolder, user }: OfflineCluster,
  database: string,
  commands: readonly string[],
): Promise<string> {
  const args = ['--single', '-j', '-D', dataFolder, '-c', 'exit_on_error=true', database]
  const input = commands.map((command) => `${command.trim()}\n\n`).join('')
  return retry(() => runProgram(binaries.postgres, args, { folder, user, input }), {
    ...BUSY_PAUSES,
    withinMs: BUSY_DEADLINE_MS,
    isWorthwhile: (error) => error instanceof Error && error.message.includes('shared memory block'),
  })
}

async function readSql(name: string): Promise<string> {
  return readFile(fileURLToPath(new URL(name, SQL_FOLDER)), 'utf8')
}

async function setMark({ dataFolder, user }: OfflineCluster): Promise<void> {
  const file = join(dataFolder, MARK)
  await writeFile(file, `${APPLICATION} is the role of the application, without superuser\n`, { mode: 0o600 })
  if (user !== undefined) await chown(file, user.uid, user.gid)
}
