/**
 * Keeps the disks of Taskwire's files from filling up. PostgreSQL often shares them, and a PostgreSQL without space accepts no tasks: so
 * files stop first, at a floor of free space, and tasks are created all the same.
 */
import { statfs } from 'node:fs/promises'
import type { Log } from '../log.js'

const MB = 1024 * 1024
/** Free again: so much above the floor, so that a disk that stays close to it is not logged over and over. */
const RELIEF = 1.1
/** What a file system says that has no space left, or none left for this user. */
const FULL_CODES: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT'])

/** A file was not written because its disk has too little space left. Trying again later may help. */
export class DiskFullError extends Error {
  override readonly name = 'DiskFullError'
}

export interface DiskFloor {
  /**
   * @param bytes how many are about to be written, as far as is known
   * @throws DiskFullError when the disk of this folder would have less free space than the floor
   */
  assertRoom(folder: string, bytes?: number): Promise<void>
  /** The watched folders whose disks are below the floor, a line each; empty when all have space. */
  findLow(): Promise<string[]>
}

export interface DiskFloorOptions {
  /** The floor, in MB; 0 for none. */
  minFreeMb: number
  /** What `findLow` looks at. A folder that does not exist counts as having space. */
  folders: readonly string[]
  log: Pick<Log, 'error' | 'info'>
  /** Reads the free space of a folder's disk, in bytes; undefined when it cannot be told. For tests. */
  readFreeBytes?(folder: string): Promise<number | undefined>
}

/** The bytes that this user may still write to the disk of a folder. */
async function readDisk(folder: string): Promise<number | undefined> {
  const found = await statfs(folder).catch(() => undefined)
  return found && found.bavail * found.bsize
}

export function createDiskFloor({ minFreeMb, folders, log, readFreeBytes = readDisk }: DiskFloorOptions): DiskFloor {
  const low = new Set<string>()

  /** What is wrong with the disk, in words. The log hears of each change once. */
  async function describeLack(folder: string, bytes: number): Promise<string | undefined> {
    const free = minFreeMb === 0 ? undefined : await readFreeBytes(folder)
    if (free === undefined) return undefined
    const freeMb = Math.floor(free / MB)
    const lack = `the disk of ${folder} has ${freeMb} MB free, and MIN_FREE_DISK_MB is ${minFreeMb}`
    if (freeMb < minFreeMb && !low.has(folder)) {
      low.add(folder)
      log.error({ folder, freeMb, minFreeMb }, `${lack}: uploads and files of tasks are refused. Free some space.`)
    } else if (freeMb >= minFreeMb * RELIEF && low.delete(folder)) {
      log.info({ folder, freeMb, minFreeMb }, 'the disk has space again; files are accepted')
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

/** An error of the file system as what it means for a file; others stay as they are. */
export function explainDiskError(error: unknown): unknown {
  const { code, message } = error as { code?: unknown; message?: string }
  return FULL_CODES.has(code) ? new DiskFullError(`the disk is full: ${message}`, { cause: error }) : error
}
