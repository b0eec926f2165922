/**
 * Artifacts in a folder: `<folder>/<last two characters of the owner>/<owner>/<location>`, see `location.ts`. Web,
 * worker and relay must share the folder and run as the same user, because only that user can read the files.
 */
import { randomBytes } from 'node:crypto'
import { createReadStream, type Stats } from 'node:fs'
import { chmod, lstat, open, readdir, rename, rm, rmdir, type FileHandle } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import {
  assertFolderUsable,
  makePrivateFolders,
  PRIVATE_FILE_MODE,
  PRIVATE_FOLDER_MODE,
  tightenFolder,
} from '../private-files.js'
import { ArtifactMissingError, type ArtifactKey, type ArtifactStore } from './artifact-store.js'
import { explainDiskError, type DiskFloor } from './disk-floor.js'
import { findLeftovers } from './leftovers.js'
import { locate, locations } from './location.js'

const MB = 1024 * 1024
const OWNER = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/
const SHARD = /^[0-9a-f]{2}$/
const PART = '.part'
/** A folder may be removed with its last file while another file is about to be written to it. */
const MAX_OPEN_TRIES = 5

/** @param floor keeps the disk from filling up; without it files may fill the disk */
export function openDiskStore(folder: string, floor?: DiskFloor): ArtifactStore {
  const root = resolve(folder)

  function folderOf(owner: string): string {
    // Owners are validated where they enter; this check is the last safeguard.
    if (!OWNER.test(owner)) throw new Error(`${JSON.stringify(owner)} is not an id, so it cannot own files`)
    return join(root, owner.slice(-2), owner)
  }

  /** Paths of all files of this key, complete or partial. */
  async function findPaths(key: ArtifactKey): Promise<string[]> {
    const own = locations(key)
    const isOfKey = (name: string) =>
      own.some((location) => name === location || (name.startsWith(`${location}.`) && name.endsWith(PART)))
    const names = await readdir(folderOf(key.owner)).catch(() => [])
    return names.filter(isOfKey).map((name) => join(folderOf(key.owner), name))
  }

  async function openFound(key: ArtifactKey): Promise<FileHandle> {
    for (const location of locations(key)) {
      const file = await open(join(folderOf(key.owner), location)).catch(ignoreMissing)
      if (file !== undefined) return file
    }
    throw new ArtifactMissingError(`the file of ${key.name} is gone`)
  }

  return {
    async prepare() {
      const fix = 'Set ARTIFACTS_DIR to a folder that the user of this process can write to, or to s3://bucket/prefix.'
      await assertFolderUsable(root, 'the folder of ARTIFACTS_DIR', fix)
      await tightenFolder(root, (name) => SHARD.test(name))
    },
    async assertRoom(bytes) {
      await floor?.assertRoom(root, bytes)
    },
    async write(key, source) {
      const path = join(folderOf(key.owner), locate(key))
      // In the same folder, because a rename within it is atomic. With a unique name, because two writers may be
      // active.
      const part = `${path}.${randomBytes(4).toString('hex')}${PART}`
      try {
        await floor?.assertRoom(root)
        const file = await openNew(part, folderOf(key.owner))
        await pipeline(
          source,
          (chunks: AsyncIterable<Buffer>) => keepAboveFloor(chunks, root, floor),
          file.createWriteStream({ flush: true }),
        )
        await rename(part, path)
      } catch (error) {
        // Otherwise a source that is no longer read would wait forever.
        source.destroy(error as Error)
        await rm(part, { force: true }).catch(() => {})
        throw explainDiskError(error)
      }
    },
    async read(key, range) {
      return createReadStream('', { fd: await openFound(key), ...range })
    },
    async remove(key) {
      for (const path of await findPaths(key)) await rm(path, { force: true })
      // Succeeds only when this was the last file.
      await rmdir(folderOf(key.owner)).catch(() => {})
    },
    async removeLeftovers({ after = '', minAgeMs, findOwners }) {
      const shards = (await readdir(root).catch(() => [])).filter((name) => SHARD.test(name) && name > after).sort()
      const [shard] = shards
      if (shard === undefined) return { removed: 0, next: undefined }
      const nowMs = await readClock(join(root, shard))
      const isOld = ({ mtimeMs }: Stats) => nowMs - mtimeMs >= minAgeMs
      const owners = (await readdir(join(root, shard))).filter((name) => OWNER.test(name))
      const files = (await Promise.all(owners.map((owner) => findOldFiles(owner, folderOf(owner), isOld)))).flat()
      const leftovers = findLeftovers(
        files,
        files.length === 0 ? new Map() : await findOwners([...new Set(files.map(({ owner }) => owner))]),
      )
      for (const { path } of leftovers) await rm(path, { force: true })
      for (const owner of owners) await rmdir(folderOf(owner)).catch(() => {})
      return { removed: leftovers.length, next: shards.length > 1 ? shard : undefined }
    },
  }
}

async function openNew(path: string, folder: string): Promise<FileHandle> {
  for (let tries = 1; ; tries += 1) {
    await makePrivateFolders(folder)
    const file = await open(path, 'wx', PRIVATE_FILE_MODE).catch((error: NodeJS.ErrnoException) => {
      if (tries === MAX_OPEN_TRIES) throw error
      return ignoreMissing(error)
    })
    if (file !== undefined) return file
  }
}

/** Checks the floor again after each megabyte, because other programs write to the disk too. */
async function* keepAboveFloor(
  chunks: AsyncIterable<Buffer>,
  folder: string,
  floor: DiskFloor | undefined,
): AsyncGenerator<Buffer> {
  let unseen = 0
  for await (const chunk of chunks) {
    unseen += chunk.length
    if (unseen >= MB) {
      unseen = 0
      await floor?.assertRoom(folder, chunk.length)
    }
    yield chunk
  }
}

/**
 * The clock of the file system, which may be on another machine: it stamps the change of a mode, and that needs no
 * space on a full disk.
 */
async function readClock(folder: string): Promise<number> {
  await chmod(folder, PRIVATE_FOLDER_MODE)
  return (await lstat(folder)).ctimeMs
}

interface OldFile {
  owner: string
  location: string
  isPart: boolean
  path: string
}

async function findOldFiles(owner: string, folder: string, isOld: (stats: Stats) => boolean): Promise<OldFile[]> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => /^\d+-/.test(name))
  const found = await Promise.all(
    names.map(async (name) => {
      const path = join(folder, name)
      const stats = await lstat(path).catch(() => undefined)
      return stats?.isFile() === true && isOld(stats)
        ? { owner, location: name, isPart: name.endsWith(PART), path }
        : undefined
    }),
  )
  return found.filter((file) => file !== undefined)
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
