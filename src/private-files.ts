/**
 * Files and folders that only the user of the process can read: on a machine with other users, e-mails, task files and
 * data must be private. The modes are set explicitly on each file, because a umask can only remove permissions.
 */
import { randomUUID } from 'node:crypto'
import { chmod, lstat, mkdir, open, readdir, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { StartupError } from './startup-error.js'

export const PRIVATE_FILE_MODE = 0o600
export const PRIVATE_FOLDER_MODE = 0o700
/** Permissions of group and others. */
export const RIGHTS_OF_OTHERS = 0o077
const PROBE = '.probe-'

/**
 * Creates a folder and its missing parents. An existing folder is left unchanged.
 *
 * Node's `recursive` is not used: below `/proc`, which exists but in which no folder can be created, it tries forever.
 */
export async function makePrivateFolders(folder: string, mode = PRIVATE_FOLDER_MODE): Promise<void> {
  try {
    await makeFolder(folder, mode)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(folder) === folder) throw error
    await makePrivateFolders(dirname(folder), mode)
    await makeFolder(folder, mode)
  }
}

async function makeFolder(folder: string, mode: number): Promise<void> {
  try {
    await mkdir(folder, { mode })
  } catch (error) {
    const isThere = await stat(folder).then(
      (found) => found.isDirectory(),
      () => false,
    )
    if (!isThere) throw error
  }
}

/**
 * Removes the permissions of other users from a folder and its entries, where earlier versions left them. Entries that
 * do not look like Taskwire's, or belong to another user, are left alone: such a folder was chosen deliberately.
 * @param kept permissions that others keep on the folder itself; none by default
 */
export async function tightenFolder(folder: string, isOurs: (name: string) => boolean, kept = 0): Promise<void> {
  const names = (await readdir(folder)).filter((name) => !name.startsWith(PROBE))
  const ours = names.filter(isOurs)
  for (const name of ours) await tighten(join(folder, name), 0)
  if (ours.length === names.length) await tighten(folder, kept)
}

async function tighten(path: string, kept: number): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined || found.isSymbolicLink() || found.uid !== process.getuid?.()) return
  const wrong = found.mode & RIGHTS_OF_OTHERS & ~kept
  if (wrong !== 0) await chmod(path, found.mode & 0o7777 & ~wrong)
}

/**
 * Creates a folder unless it exists, and writes a file to it. A full disk is not an error here: space may be freed
 * later.
 * @param what names the folder in the error, e.g. `the folder of ARTIFACTS_DIR`
 * @param fix what to do about it
 * @param mode of the folders that are created
 * @throws StartupError when the folder cannot be used
 */
export async function assertFolderUsable(
  folder: string,
  what: string,
  fix: string,
  mode = PRIVATE_FOLDER_MODE,
): Promise<void> {
  // Only writing a file is conclusive: read-only mounts and ACLs do not show in the mode.
  const probe = join(folder, `${PROBE}${randomUUID().slice(0, 8)}`)
  try {
    await makePrivateFolders(folder, mode)
    const file = await open(probe, 'wx', PRIVATE_FILE_MODE)
    await file.close()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOSPC' && code !== 'EDQUOT')
      throw new StartupError(`cannot write to ${what} ${folder}: ${describe(error)}. ${fix}`)
  } finally {
    await rm(probe, { force: true }).catch(() => {})
  }
}

function describe(error: unknown): string {
  const { code, message = String(error) } = error as NodeJS.ErrnoException
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied'
  if (code === 'EROFS') return 'read-only file system'
  if (code === 'EEXIST' || code === 'ENOTDIR') return 'it is not a folder'
  if (code === 'ENOENT') return 'it cannot be created'
  return message
}
