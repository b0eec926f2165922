/**
 * Ramps: after a pause, what waits does not start all at once. A limit of the same scope allows one attempt at a time at
 * first, twice as many each second, and is deleted after ten seconds.
 */
import { createHash } from 'node:crypto'
import type { Database, Statement, Transaction } from '../../db/database.js'
import { RAMP_PREFIX, type PauseKind } from '../../protocol/release.js'
import { removeLimit, whileNothingStarts, writeLimit } from './set-limit.js'

const RAMP_SECONDS = 10

/** What was paused. Keys have no ramp. */
interface RampScope {
  kind: PauseKind
  name: string
}

function nameOf({ kind, name }: RampScope): string {
  const isPlain = /^[a-z0-9._-]{1,80}$/.test(name)
  return `${RAMP_PREFIX}${kind}-${isPlain ? name : createHash('sha256').update(name).digest('hex').slice(0, 16)}`
}

const WAKE_EACH_SECOND: Statement = {
  name: 'wake_each_second',
  text: `
insert into taskwire.wakes (blocked_by, at)
select $1, $2::text::timestamptz + second * interval '1 s' from generate_series(1, ${RAMP_SECONDS}) second`,
}

/**
 * Within `whileNothingStarts`.
 * @param since when the pause ends
 * @param periodMs at most one starts in this time, however short the attempts are; null: no such bound
 */
export async function startRamp(
  transaction: Transaction,
  scope: RampScope,
  since: string,
  by: string,
  periodMs: number | null = null,
): Promise<void> {
  const { kind, name: paused } = scope
  const name = nameOf(scope)
  await writeLimit(transaction, {
    name,
    types: kind === 'type' ? [paused] : null,
    queue: kind === 'queue' ? paused : null,
    tenant: kind === 'tenant' ? paused : null,
    per: 'all',
    concurrency: null,
    rate: periodMs && 1,
    periodMs,
    burst: periodMs && 1,
    whenOver: 'delay',
    rampSince: since,
    isFromCode: false,
    by,
    reason: `after the pause of the ${kind} ${paused}`.slice(0, 500),
  })
  await transaction.run(WAKE_EACH_SECOND, [`limit ${name} `, since])
}

/** Within `whileNothingStarts`. */
export async function endRamp(transaction: Transaction, scope: RampScope): Promise<void> {
  await removeLimit(transaction, nameOf(scope))
}

const LIST_ENDED_RAMPS: Statement = {
  name: 'list_ended_ramps',
  text: `select name from taskwire.limits where ramp_since < now() - interval '${RAMP_SECONDS} s'`,
}

/** Deletes the ramps that have let everything start. */
export async function deleteEndedRamps(db: Database): Promise<void> {
  const ended = await db.run<{ name: string }>(LIST_ENDED_RAMPS, [])
  if (ended.length === 0) return
  await whileNothingStarts(
    db,
    async (transaction) => {
      // Again: a ramp of the same name may have begun.
      for (const { name } of await transaction.run<{ name: string }>(LIST_ENDED_RAMPS, []))
        await removeLimit(transaction, name)
    },
    { claims: false },
  )
}
