/** `ctx.pauseKey`: a running task pauses its key, for example because a server has asked for less. */
import type { Principal } from '../../../access/principal.js'
import type { Database } from '../../../db/database.js'
import { MAX_KEY_LENGTH, MAX_REASON_LENGTH } from '../../../protocol/limits.js'
import { isStorableKey } from '../../../protocol/storable.js'
import { toStorableText } from '../../../protocol/text.js'
import { MAX_KEY_PAUSE_MS, pauseKey } from '../../../store/release/pauses.js'
import type { AttemptFence } from './attempt-fence.js'

export class KeyPauses {
  readonly #principal: Principal
  readonly #fence: AttemptFence
  readonly #db: Database

  constructor(principal: Principal, fence: AttemptFence, db: Database) {
    this.#principal = principal
    this.#fence = fence
    this.#db = db
  }

  /** See `TaskContext.pauseKey`. */
  async pause(key: string, until: Date | number, reason?: string): Promise<void> {
    const read = readKeyPause(key, until, reason)
    await this.#fence.whenDatabaseAnswers(() => pauseKey(this.#principal, this.#db, read.key, read.until, read.reason))
  }
}

/** @throws RangeError */
export function readKeyPause(
  key: string,
  until: Date | number,
  reason?: string,
): { key: string; until: string | number; reason: string | null } {
  if (typeof key !== 'string' || key.length < 1 || key.length > MAX_KEY_LENGTH || !isStorableKey(key))
    throw new RangeError(
      `the key to pause must be well-formed text of 1 to ${MAX_KEY_LENGTH} characters, and neither "." nor ".."`,
    )
  return {
    key,
    until: readEnd(until),
    reason: reason === undefined ? null : toStorableText(reason, MAX_REASON_LENGTH) || null,
  }
}

function readEnd(until: Date | number): string | number {
  if (typeof until === 'number' && until >= 0) return Math.min(until, MAX_KEY_PAUSE_MS)
  if (!(until instanceof Date) || Number.isNaN(until.getTime()))
    throw new RangeError('the end of a pause must be a date, or a number of milliseconds from now')
  // PostgreSQL's clock decides how far ahead that is. It does not read every year in this form.
  if (until.getTime() < 0) return 0
  return until.getUTCFullYear() > 9_999 ? MAX_KEY_PAUSE_MS : until.toISOString()
}
