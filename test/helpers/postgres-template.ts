/**
 * Clusters that the tests' servers copy, which takes a tenth of the time of creating one. They are created once, under
 * `node_modules/.cache`.
 *
 * - `empty`: the roles, and the application's database without any tables.
 * - `migrated`: the same after all migrations. Its name holds a hash of them.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { SUPERUSER } from '../../src/services/embedded/application-role.js'
import { findPackage, findPostgresBinaries } from '../../src/services/embedded/postgres-binaries.js'
import { initPostgres, startPostgres } from '../../src/services/embedded/postgres.js'
import { runProgram, type UserIds } from '../../src/services/embedded/server-process.js'

const CACHE_FOLDER = fileURLToPath(new URL('../../node_modules/.cache/taskwire', import.meta.url))
const MIGRATIONS_FOLDER = fileURLToPath(new URL('../../drizzle', import.meta.url))

/** In tests the superuser can log in; in production it cannot. */
export const ADMIN_PASSWORD = 'admin'

/** Copies a template into the folder of a server that will run as `user`. */
export async function copyTemplate(kind: 'empty' | 'migrated', to: string, user: UserIds | undefined): Promise<void> {
  await copyFolder(await (kind === 'empty' ? findEmpty(user) : findMigrated(user)), to)
}

async function findEmpty(user: UserIds | undefined): Promise<string> {
  return findOrMake(`${await nameFor(user)}-roles`, async (folder) => {
    const { postgres: program } = await findPostgresBinaries(user)
    await initPostgres(folder, { user, initdbFlags: ['--no-sync'] })
    const input = `alter role ${SUPERUSER} password '${ADMIN_PASSWORD}';\n`
    await runProgram(program, ['--single', '-D', join(folder, 'data'), 'postgres'], { folder, user, input })
  })
}

async function findMigrated(user: UserIds | undefined): Promise<string> {
  return findOrMake(`${await nameFor(user)}-migrated-${await hashMigrations()}`, async (folder) => {
    await copyTemplate('empty', folder, user)
    // On demand, because most test processes find the template.
    const { migrateDatabase } = await import('../../src/db/migrate.js')
    const server = await startPostgres({ folder, user })
    try {
      await migrateDatabase(server.url)
    } finally {
      await server.stop()
    }
  })
}

/** Names the version of the package, because asking the program for its own takes longer than copying a cluster. */
async function nameFor(user: UserIds | undefined): Promise<string> {
  const { version } = JSON.parse(await readFile(join(findPackage(), 'package.json'), 'utf8')) as { version: string }
  return `postgresql-${version}-${user?.uid ?? 'self'}`
}

async function hashMigrations(): Promise<string> {
  const hash = createHash('sha256')
  const files = (await readdir(MIGRATIONS_FOLDER)).filter((name) => name.endsWith('.sql')).sort()
  for (const text of await Promise.all(files.map((name) => readFile(join(MIGRATIONS_FOLDER, name))))) hash.update(text)
  return hash.digest('hex').slice(0, 16)
}

/** Two test processes may make a template at the same time: the first to finish wins. */
async function findOrMake(name: string, make: (folder: string) => Promise<void>): Promise<string> {
  const template = join(CACHE_FOLDER, name)
  if (await exists(template)) return template
  // Created in a folder that the server's user can enter, which the project's folder need not be.
  const made = await mkdtemp(join(tmpdir(), 'taskwire-template-'))
  try {
    await make(made)
    await mkdir(CACHE_FOLDER, { recursive: true })
    const draft = await mkdtemp(`${template}.`)
    await copyFolder(made, draft)
    await rename(draft, template).catch(() => rm(draft, { recursive: true, force: true }))
  } finally {
    await rm(made, { recursive: true, force: true })
  }
  return template
}

async function copyFolder(from: string, to: string): Promise<void> {
  await promisify(execFile)('cp', ['-a', `${from}/.`, to])
}

async function exists(folder: string): Promise<boolean> {
  return readdir(folder).then(
    () => true,
    () => false,
  )
}
