/**
 * Decides which user the embedded services run as, and where their files are.
 *
 * PostgreSQL refuses to run as root. Started as root, the services run as the owner of existing data, otherwise as
 * `postgres` if that user exists, otherwise as `nobody`; no user is ever created. Such a user may be unable to enter
 * the folder it is started from (`/root` is closed to other users). Programs and data are then under
 * `/var/lib/taskwire` or, if that is not writable, in the folder for temporary files.
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
  /** The user they run as; undefined: the current user. */
  user: UserIds | undefined
  /** Why `folder` is not the data folder; undefined when it is. */
  reason?: string
}

/** Finds the location for the services of an existing data folder. Existing data decides. */
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
  return { folder, user, reason: `the user that PostgreSQL runs as cannot enter ${dataDir}` }
}

/** Root's services run as another user, who must be able to pass through the data folder but needs no other right. */
function dataRightsOfOthers(): number {
  return isRoot() ? 0o011 : 0
}

/** Names of the entries of a data folder. */
const DATA_ENTRIES: ReadonlySet<string> = new Set([
  'postgres',
  'redis',
  'artifacts',
  'emails',
  'roles.json',
  'services.json',
  'start.sock',
])

/** Removes the permissions for other users that earlier versions left. */
export function tightenDataFolder(folder: string): Promise<void> {
  return tightenFolder(folder, (name) => DATA_ENTRIES.has(name), dataRightsOfOthers())
}

/** The user for services started as root; undefined when this process does not run as root. */
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
    'PostgreSQL does not run as root, and there is no user postgres or nobody. Start as an ordinary user.',
  )
}

function isRoot(): boolean {
  return process.getuid?.() === 0
}

async function findOwner(folder: string): Promise<UserIds | undefined> {
  const found = await stat(folder).catch(() => undefined)
  return found === undefined ? undefined : { uid: found.uid, gid: found.gid }
}

/** Asks the system instead of reading mode bits, which are not decisive (ACLs, mounts). */
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

/** Creates a folder that only the services' user can enter. */
export async function makePrivateFolder(folder: string, user: UserIds | undefined): Promise<void> {
  await assertWritableFolder(folder)
  if (user !== undefined) await chown(folder, user.uid, user.gid)
  await chmod(folder, 0o700)
}

/** Creates a folder unless it exists, and writes to it. @throws StartupError when it is not writable */
export async function assertWritableFolder(folder: string): Promise<void> {
  await assertFolderUsable(
    folder,
    'the data folder',
    'Set DATA_DIR to a folder that you can write to.',
    PRIVATE_FOLDER_MODE | dataRightsOfOthers(),
  )
}

/**
 * A folder that every user can enter but only this one can write to, for files that cannot be in a data folder.
 * @throws StartupError when another user's file or folder has its name
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

/** Other users can enter it, whatever the umask. An existing folder is left unchanged. */
async function makeOpenFolder(folder: string): Promise<void> {
  const made = await mkdir(folder, { recursive: true })
  if (made !== undefined) await chmod(folder, 0o755)
}
