/**
 * Files and folders that only the user of the process can read: e-mails, files of tasks and data are nobody else's on a machine that
 * has other users. The modes are given with each file, because a umask only ever takes rights away.
 */
import { randomUUID } from 'node:crypto'
import { chmod, lstat, mkdir, open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { StartupError } from './startup-error.js'

export const PRIVATE_FILE_MODE = 0o600
export const PRIVATE_FOLDER_MODE = 0o700
/** Group and others. */
export const RIGHTS_OF_OTHERS = 0o077
const PROBE = '.probe-'

/** Makes a folder, and those above it that are missing. One that is there stays as it is. */
export async function makePrivateFolders(folder: string, mode = PRIVATE_FOLDER_MODE): Promise<void> {
  await mkdir(folder, { recursive: true, mode })
}

/**
 * Takes the rights of others from what is in a folder, and from the folder itself. Earlier versions left them. What does not look like
 * ours, or belongs to another user, is left alone: a folder that holds more than our files was chosen by somebody for a reason.
 * @param kept rights that others keep on the folder itself; none by default
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
 * Makes a folder, unless it is there, and writes a file to it. A disk that is full is no reason to refuse: it may be emptied.
 * @param what names the folder in the error, such as `the folder of ARTIFACTS_DIR`
 * @param fix what to do about it
 * @param mode of the folders that are made
 * @throws StartupError when the folder cannot be used
 */
export async function assertFolderUsable(folder: string, what: string, fix: string, mode = PRIVATE_FOLDER_MODE): Promise<void> {
  // Only a real write tells: read-only mounts and ACLs do not show in the mode.
  const probe = join(folder, `${PROBE}${randomUUID().slice(0, 8)}`)
  try {
    await makePrivateFolders(folder, mode)
    const file = await open(probe, 'wx', PRIVATE_FILE_MODE)
    await file.close()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw new StartupError(`cannot write to ${what} ${folder}: ${describe(error)}. ${fix}`)
  } finally {
    await rm(probe, { force: true }).catch(() => {})
  }
}

function describe(error: unknown): string {
  const { code, message = String(error) } = error as NodeJS.ErrnoException
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied'
  if (code === 'EROFS') return 'read-only file system'
  if (code === 'EEXIST' || code === 'ENOTDIR') return 'it is not a folder'
  if (code === 'ENOENT') return 'it cannot be made'
  return message
}
