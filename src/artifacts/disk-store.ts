/** Artifacts in a folder: `<folder>/<first two of the owner>/<owner>/<attempt>-<name>`. Web and worker need the same folder. */
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, open, rename, rm, rmdir } from 'node:fs/promises'
import { dirname, join, resolve, sep } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { ArtifactMissingError, type ArtifactKey, type ArtifactStore } from '../tasks/artifact-store.js'

export function openDiskStore(folder: string): ArtifactStore {
  const root = resolve(folder)

  /** Names are checked where they come in; this is the last line. */
  function pathOf({ owner, attempt, name }: ArtifactKey): string {
    const path = join(root, owner.slice(-2), owner, `${attempt}-${name}`)
    if (!path.startsWith(root + sep)) throw new Error(`the artifact ${name} would lie outside of its folder`)
    return path
  }

  return {
    async write(key, source) {
      const path = pathOf(key)
      // Beside it: a rename within a folder is all or nothing.
      const part = `${path}.part`
      await mkdir(dirname(path), { recursive: true })
      try {
        await pipeline(source, createWriteStream(part, { flush: true }))
        await rename(part, path)
      } catch (error) {
        await rm(part, { force: true })
        throw error
      }
    },
    async read(key, range) {
      const file = await open(pathOf(key)).catch((error: NodeJS.ErrnoException) => {
        throw error.code === 'ENOENT' ? new ArtifactMissingError(`the file of ${key.name} is gone`) : error
      })
      return createReadStream('', { fd: file, ...range })
    },
    async remove(key) {
      const path = pathOf(key)
      await rm(path, { force: true })
      // The last one takes the folder with it.
      await rmdir(dirname(path)).catch(() => {})
    },
  }
}
