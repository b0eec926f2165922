/**
 * Deletes files without a row: of uploads interrupted with their process, and of attempts whose worker was killed.
 * Expired files are deleted by `prune.ts`.
 *
 * Safe beside every writer. A file is kept until nothing was written to it for `SAFE_AGE_MS` by the clock of its own
 * file system, and while the attempt that writes it is running. Safe in several relays at once, and in a folder that
 * another installation uses too.
 */
import type { ArtifactStore } from '../artifacts/artifact-store.js'
import type { Database } from '../db/database.js'
import type { Log } from '../log.js'
import { readArtifactOwners } from '../store/artifacts.js'

/** No upload, and no recording of one, pauses for this long. */
const SAFE_AGE_MS = 3_600_000

export interface CleanOptions {
  db: Database
  artifacts: ArtifactStore
  log: Pick<Log, 'info'>
  /** Default `SAFE_AGE_MS`. */
  minAgeMs?: number
}

/**
 * Returns a function that walks all files, one page per call. True when this walk has more pages; otherwise the next
 * call starts a new walk.
 */
export function createFilePruner({ db, artifacts, log, minAgeMs = SAFE_AGE_MS }: CleanOptions): () => Promise<boolean> {
  let after: string | undefined
  return async () => {
    const page = await artifacts.removeLeftovers({
      after,
      minAgeMs,
      findOwners: (owners) => readArtifactOwners(db, owners),
    })
    if (page.removed > 0)
      log.info({ count: page.removed }, 'deleted leftover files of interrupted uploads and attempts')
    after = page.next
    return after !== undefined
  }
}
