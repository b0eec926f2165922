/**
 * Ends pauses with an end, and the ramps after pauses. Warns of pauses that may have been forgotten.
 */
import type { Database } from '../db/database.js'
import type { Log } from '../log.js'
import { deleteEndedPauses, listOldPauses } from '../store/release/pauses.js'
import { deleteEndedRamps } from '../store/release/ramps.js'

const REMIND_AFTER_MS = 86_400_000

/** Makes the step of the loop. Safe to run in several relays at once; each of them reminds. */
export function createPauseEnder({ db, log }: { db: Database; log: Log }): () => Promise<boolean> {
  /** When each old pause was last warned of. */
  const warnedAt = new Map<string, number>()

  async function remind(): Promise<void> {
    const old = await listOldPauses(db)
    const names = new Map(old.map((pause) => [`${pause.kind} ${pause.name} ${pause.setAt}`, pause]))
    for (const known of warnedAt.keys()) if (!names.has(known)) warnedAt.delete(known)
    for (const [known, { kind, name, setBy, setAt, reason }] of names) {
      if (Date.now() - (warnedAt.get(known) ?? -Infinity) < REMIND_AFTER_MS) continue
      warnedAt.set(known, Date.now())
      log.warn(
        { kind, name, setBy, setAt, reason },
        'a pause is older than a day; if it is no longer needed, end it: DELETE /api/pauses/:kind/:name',
      )
    }
  }

  return async function endPausesOnce() {
    await deleteEndedPauses(db)
    await deleteEndedRamps(db)
    await remind()
    return false
  }
}
