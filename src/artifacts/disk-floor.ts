/**
 * Keeps the disks with Taskwire's files from filling up. PostgreSQL often shares them, and without disk space it
 * accepts no tasks. So files are refused first, below a floor of free space, while tasks can still be created.
 */
import { statfs } from 'node:fs/promises'
import type { Log } from '../log.js'

const MB = 1024 * 1024
/**
 * Free space must exceed the floor by this factor to count as recovered, so that a disk close to it does not fill the
 * log.
 */
const RELIEF = 1.1
/** Error codes of a file system with no space left, at all or for this user. */
const FULL_CODES: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT'])

/** A file was not written because its disk has too little free space. Trying again later may help. */
export class DiskFullError extends Error {
  override readonly name = 'DiskFullError'
}

export interface DiskFloor {
  /**
   * @param bytes how many are about to be written, if known
   * @throws DiskFullError when the write would leave the folder's disk less free space than the floor
   */
  assertRoom(folder: string, bytes?: number): Promise<void>
  /** One line for each watched folder whose disk is below the floor; empty when all have space. */
  findLow(): Promise<string[]>
}

export interface DiskFloorOptions {
  /** The floor, in MB; 0 turns it off. */
  minFreeMb: number
  /** Folders that `findLow` checks. A folder that does not exist counts as having space. */
  folders: readonly string[]
  log: Pick<Log, 'error' | 'info'>
  /** Reads the free space of a folder's disk, in bytes; undefined when unknown. For tests. */
  readFreeBytes?(folder: string): Promise<number | undefined>
}

/** The bytes that this user may still write to the folder's disk. */
async function readDisk(folder: string): Promise<number | undefined> {
  const found = await statfs(folder).catch(() => undefined)
  return found && found.bavail * found.bsize
}

export function createDiskFloor({ minFreeMb, folders, log, readFreeBytes = readDisk }: DiskFloorOptions): DiskFloor {
  const low = new Set<string>()

  /** Describes the lack of space; undefined when there is enough. Each change is logged once. */
  async function describeLack(folder: string, bytes: number): Promise<string | undefined> {
    const free = minFreeMb === 0 ? undefined : await readFreeBytes(folder)
    if (free === undefined) return undefined
    const freeMb = Math.floor(free / MB)
    const lack = `the disk of ${folder} has ${freeMb} MB free, and MIN_FREE_DISK_MB is ${minFreeMb}`
    if (freeMb < minFreeMb && !low.has(folder)) {
      low.add(folder)
      log.error({ folder, freeMb, minFreeMb }, `${lack}: uploads and task files are refused. Free some space.`)
    } else if (freeMb >= minFreeMb * RELIEF && low.delete(folder)) {
      log.info({ folder, freeMb, minFreeMb }, 'the disk has space again; accepting files')
    }
    return free - bytes < minFreeMb * MB ? lack : undefined
  }

  return {
    async assertRoom(folder, bytes = 0) {
      const lack = await describeLack(folder, bytes)
      if (lack !== undefined) throw new DiskFullError(lack)
    },
    async findLow() {
      const lacks = await Promise.all(folders.map((folder) => describeLack(folder, 0)))
      return lacks.filter((lack) => lack !== undefined)
    },
  }
}

/** Turns an out-of-space error into a DiskFullError. Returns other errors unchanged. */
export function explainDiskError(error: unknown): unknown {
  const { code, message } = error as { code?: unknown; message?: string }
  return FULL_CODES.has(code) ? new DiskFullError(`the disk is full: ${message}`, { cause: error }) : error
}
