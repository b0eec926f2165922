/** Removes what has had its time. */
import type { Database } from '../db/database.js'
import type { ArtifactStore } from '../tasks/artifact-store.js'
import { deleteExpiredKeys, findExpiredArtifacts, forgetExpiredArtifact } from '../tasks/store/index.js'

const MAX_DELETES = 1_000

/** One sweep. True when there may be more. Safe in several relays at once. */
export async function retainOnce(db: Database, artifacts: ArtifactStore): Promise<boolean> {
  const expired = await findExpiredArtifacts(db, MAX_DELETES)
  for (const artifact of expired) {
    // The bytes first: a row without bytes is found again, bytes without a row are not.
    await artifacts.remove(artifact)
    await forgetExpiredArtifact(db, artifact)
  }
  return (await deleteExpiredKeys(db, MAX_DELETES)) === MAX_DELETES || expired.length === MAX_DELETES
}
