/**
 * As whom the embedded services run, and where their files lie.
 *
 * PostgreSQL refuses to run as root. Started as root, the services run as the owner of the data that is already there,
 * else as `postgres` where that user exists, else as `nobody`; no user is ever created. Such a user may not be able to
 * enter the folder it is started from (`/root` is closed to others): then programs and data lie under
 * `/var/lib/taskwire`, or in the folder for temporary files where that cannot be written.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmod, chown, lstat, mkdir, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { assertFolderUsable, PRIVATE_FOLDER_MODE, tightenFolder } from '../../private-files.js'
import { StartupError } from '../../startup-error.js'
import { runProgram, type UserIds } from './server-process.js'

/** Where the services of one data folder keep their files. */
export interface ServiceLocation {
  folder: string
  /** As whom they run; undefined: as the current user. */
  user: UserIds | undefined
  /** Set when `folder` is not the data folder: why. */
  reason?: string
}

/** Finds the place for the services of a data folder, which exists. Data that is already there decides. */
export async function findServiceLocation(dataDir: string): Promise<ServiceLocation> {
  if (!isRoot()) return { folder: dataDir, user: undefined }
  const name = createHash('sha256').update(dataDir).digest('hex').slice(0, 12)
  for (const folder of [dataDir, ...sharedFolders().map((shared) => join(shared, name))]) {
    const owner = await findOwner(join(folder, 'postgres'))
    if (owner !== undefined && owner.uid !== 0 && canEnter(folder, owner)) return placeOf(folder, owner, dataDir)
  }
  const user = await findServiceUser()
  if (canEnter(dataDir, user)) return placeOf(dataDir, user, dataDir)
  const elsewhere = join(await findSharedFolder(), name)
  await makeOpenFolder(elsewhere)
  return placeOf(elsewhere, user, dataDir)
}

function placeOf(folder: string, user: UserIds, dataDir: string): ServiceLocation {
  if (folder === dataDir) return { folder, user }
  return { folder, user, reason: `${dataDir} is closed to the user that PostgreSQL runs as` }
}

/** Root's services run as another user, who must be able to pass through the data folder, and needs no more of it. */
function dataRightsOfOthers(): number {
  return isRoot() ? 0o011 : 0
}

/** What lies directly in a data folder. */
const DATA_ENTRIES: ReadonlySet<string> = new Set(['postgres', 'redis', 'artifacts', 'emails', 'roles.json', 'services.json', 'start.sock'])

/** Takes the rights that earlier versions have left to others. */
export function tightenDataFolder(folder: string): Promise<void> {
  return tightenFolder(folder, (name) => DATA_ENTRIES.has(name), dataRightsOfOthers())
}

/** The user for services started as root; undefined for everybody else. */
export async function findDefaultUser(): Promise<UserIds | undefined> {
  return isRoot() ? findServiceUser() : undefined
}

async function findServiceUser(): Promise<UserIds> {
  for (const name of ['postgres', 'nobody']) {
    const ids = await Promise.all(['-u', '-g'].map((flag) => runProgram('id', [flag, name], { folder: '/' }))).catch(
      () => undefined,
    )
    if (ids !== undefined) return { uid: Number(ids[0]), gid: Number(ids[1]) }
  }
  throw new StartupError(
    'PostgreSQL does not run as root, and there is no user postgres or nobody: start as an ordinary user.',
  )
}

function isRoot(): boolean {
  return process.getuid?.() === 0
}

async function findOwner(folder: string): Promise<UserIds | undefined> {
  const found = await stat(folder).catch(() => undefined)
  return found === undefined ? undefined : { uid: found.uid, gid: found.gid }
}

/** Asks the system instead of reading mode bits, which do not tell the whole story (ACLs, mounts). */
function canEnter(folder: string, user: UserIds): boolean {
  return spawnSync('/bin/sh', ['-c', 'cd -- "$0"', folder], { cwd: '/', stdio: 'ignore', ...user }).status === 0
}

/** Whether this user can execute this file. */
export function canExecute(file: string, user: UserIds | undefined): boolean {
  return (
    spawnSync('/bin/sh', ['-c', 'test -x "$0" && test -r "$0"', file], { cwd: '/', stdio: 'ignore', ...user })
      .status === 0
  )
}

/** Makes a folder that only the services' user can enter. */
export async function makePrivateFolder(folder: string, user: UserIds | undefined): Promise<void> {
  await assertWritableFolder(folder)
  if (user !== undefined) await chown(folder, user.uid, user.gid)
  await chmod(folder, 0o700)
}

/**
 * Makes a folder, unless it is there, and writes to it.
 * @throws StartupError when it cannot be written
 */
export async function assertWritableFolder(folder: string): Promise<void> {
  await assertFolderUsable(folder, 'the data folder', 'Set DATA_DIR to a folder you can write to.', PRIVATE_FOLDER_MODE | dataRightsOfOthers())
}

/**
 * A folder every user can enter and only we can write to, for what cannot be kept in a data folder.
 * @throws StartupError when somebody else holds its name
 */
export async function findSharedFolder(): Promise<string> {
  for (const folder of sharedFolders()) {
    const made = await makeOpenFolder(folder).then(
      () => true,
      () => false,
    )
    if (!made) continue
    const found = await lstat(folder)
    if (found.isDirectory() && found.uid === process.getuid?.() && (found.mode & 0o022) === 0) return folder
  }
  throw new StartupError(
    `cannot use ${sharedFolders().join(' or ')}: not a folder that only this user can write to. Remove it.`,
  )
}

function sharedFolders(): string[] {
  return [...(isRoot() ? ['/var/lib/taskwire'] : []), join(tmpdir(), `taskwire-${process.getuid?.()}`)]
}

/** Whatever the umask says, others can enter it. A folder that is there already stays as it is. */
async function makeOpenFolder(folder: string): Promise<void> {
  const made = await mkdir(folder, { recursive: true })
  if (made !== undefined) await chmod(folder, 0o755)
}
