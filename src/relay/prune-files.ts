/**
 * Removes files that no row knows: of uploads that broke off with their process, and of attempts whose worker was killed. What expires is
 * removed by `prune.ts`.
 *
 * Safe beside everything that writes: a file is left alone until nothing was written to it for `SAFE_AGE_MS` by the clock of its own file
 * system, and while the attempt that writes it runs. Safe in several relays at once, and in a folder that another installation uses, too.
 */
import type { ArtifactStore } from '../artifacts/artifact-store.js'
import type { Database } from '../db/database.js'
import type { Log } from '../log.js'
import { readArtifactOwners } from '../store/artifacts.js'

/** No upload, and no record of one, is silent for so long. */
const SAFE_AGE_MS = 3_600_000

export interface CleanOptions {
  db: Database
  artifacts: ArtifactStore
  log: Pick<Log, 'info'>
  /** Default `SAFE_AGE_MS`. */
  minAgeMs?: number
}

/** The steps of a walk through all files, a page each. True when there is more of this walk; the next call begins another otherwise. */
export function createFilePruner({ db, artifacts, log, minAgeMs = SAFE_AGE_MS }: CleanOptions): () => Promise<boolean> {
  let after: string | undefined
  return async () => {
    const page = await artifacts.removeLeftovers({ after, minAgeMs, findOwners: (owners) => readArtifactOwners(db, owners) })
    if (page.removed > 0) log.info({ count: page.removed }, 'removed files that nobody finished')
    after = page.next
    return after !== undefined
  }
}
