/**
 * The folder for the temporary files of a run of tests: in memory if there is plenty, otherwise the usual one.
 *
 * A test with a PostgreSQL creates and deletes more than a thousand files. On a disk this takes up to half of its
 * processor time: ext4 without a journal searches for an inode that was not deleted within the last minutes.
 */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs'
import { freemem } from 'node:os'
import { join } from 'node:path'

const MEMORY_FOLDER = '/dev/shm'
/** Several times what the tests that run at the same time store, with what their processes need. */
const MIN_FREE_BYTES = 8 * 1024 ** 3

/** Returns the value for TMPDIR, or undefined for the usual folder. A new folder is removed when this process ends. */
export function makeTemporaryFolder(): string | undefined {
  if (process.env['TMPDIR'] !== undefined) return process.env['TMPDIR']
  if (!isRoomyMemoryFolder()) return undefined
  const folder = mkdtempSync(join(MEMORY_FOLDER, 'taskwire-tests-'))
  // As /tmp: PostgreSQL runs as another user if the tests run as root.
  chmodSync(folder, 0o1777)
  process.once('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}

/** Tests also execute programs in their folders, which containers often forbid here. */
function isRoomyMemoryFolder(): boolean {
  try {
    const [, , kind, options = ''] = readMount(MEMORY_FOLDER)
    if (kind !== 'tmpfs' || !/^rw\b/.test(options) || /\bnoexec\b/.test(options)) return false
    const { bavail, bsize } = statfsSync(MEMORY_FOLDER)
    return Math.min(bavail * bsize, freemem(), process.constrainedMemory() || Infinity) >= MIN_FREE_BYTES
  } catch {
    return false
  }
}

function readMount(folder: string): string[] {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n')
  return mounts.findLast((line) => line.split(' ')[1] === folder)?.split(' ') ?? []
}
