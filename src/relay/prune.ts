/**
 * Deletes expired artifacts and idempotency keys, workers that were lost long ago, the state of unused rates, and slots of
 * long ago.
 */
import type { ArtifactStore } from '../artifacts/artifact-store.js'
import type { Database } from '../db/database.js'
import { findExpiredArtifacts, forgetExpiredArtifact } from '../store/artifacts.js'
import { deleteUnusedRates } from '../store/release/rates.js'
import { deleteOldSlots } from '../store/schedules/prune.js'
import { deleteExpiredKeys } from '../store/tasks/create-once.js'
import { forgetLostWorkers } from '../store/workers.js'

const MAX_DELETES = 1_000

/** One sweep. True when there may be more. Safe to run in several relays at once. */
export async function pruneOnce(db: Database, artifacts: ArtifactStore): Promise<boolean> {
  const expired = await findExpiredArtifacts(db, MAX_DELETES)
  for (const artifact of expired) {
    // The bytes first: a row without bytes is found again, bytes without a row are not.
    await artifacts.remove(artifact)
    await forgetExpiredArtifact(db, artifact)
  }
  const keys = await deleteExpiredKeys(db, MAX_DELETES)
  const rates = await deleteUnusedRates(db, MAX_DELETES)
  const slots = await deleteOldSlots(db, MAX_DELETES)
  await forgetLostWorkers(db)
  return [expired.length, keys, rates, slots].includes(MAX_DELETES)
}
