/**
 * Limits set by the code of types. Each process writes those of its types when it starts, so the process that started
 * last decides: for the types that it knows, and only for those. A limit that a person has set under the same name stays.
 */
import { toArrayLiteral } from '../../db/array-literal.js'
import type { Database, Statement, Transaction } from '../../db/database.js'
import { removeLimit, whileNothingStarts, writeLimit, type LimitRow } from './set-limit.js'

/** A limit as types declare it. */
export type CodeLimit = Pick<LimitRow, 'name' | 'per' | 'concurrency' | 'rate' | 'periodMs' | 'burst' | 'whenOver'> & {
  /** The types that declare it. */
  types: readonly string[]
}

type StoredLimit = CodeLimit & { isFromCode: boolean }

const LIST_LIMITS_BY_SOURCE: Statement = {
  name: 'list_limits_by_source',
  text: `
select name, coalesce(to_json(types), '[]') as types, per, concurrency, rate, period_ms as "periodMs", burst, when_over as "whenOver",
  is_from_code as "isFromCode"
from taskwire.limits
where is_from_code or name = any ($1::text::text[])
order by name`,
}

/**
 * Brings the limits set by code up to date. Locks nothing when they are.
 * @param known all types of this process, with and without limits
 */
export async function writeCodeLimits(
  db: Database,
  declared: readonly CodeLimit[],
  known: readonly string[],
): Promise<void> {
  const { written, removed } = await compare(db, declared, known)
  if (written.length + removed.length === 0) return
  await whileNothingStarts(db, async (transaction) => {
    // Again, because another process may have started.
    const changes = await compare(transaction, declared, known)
    for (const limit of changes.written)
      await writeLimit(transaction, {
        ...limit,
        queue: null,
        tenant: null,
        rampSince: null,
        isFromCode: true,
        by: 'code',
        reason: null,
      })
    for (const name of changes.removed) await removeLimit(transaction, name)
  })
}

async function compare(
  db: Transaction,
  declared: readonly CodeLimit[],
  known: readonly string[],
): Promise<{ written: CodeLimit[]; removed: string[] }> {
  const names = toArrayLiteral(declared.map(({ name }) => name))
  const stored = await db.run<StoredLimit>(LIST_LIMITS_BY_SOURCE, [names])
  const wanted = new Map(declared.map((limit) => [limit.name, limit]))
  for (const { name } of stored.filter(({ isFromCode }) => !isFromCode)) wanted.delete(name)
  const ofCode = stored.filter(({ isFromCode }) => isFromCode)
  for (const limit of ofCode) {
    // Types that this process does not know keep the limit; with them it is shared.
    const others = limit.types.filter((type) => !known.includes(type))
    const own = wanted.get(limit.name)
    if (own !== undefined) wanted.set(limit.name, { ...own, types: [...own.types, ...others].sort() })
    else if (others.length > 0) wanted.set(limit.name, { ...limit, types: others })
  }
  const before = new Map(ofCode.map((limit) => [limit.name, textOf(limit)]))
  return {
    written: [...wanted.values()].filter((limit) => textOf(limit) !== before.get(limit.name)),
    removed: [...before.keys()].filter((name) => !wanted.has(name)),
  }
}

function textOf({ name, types, per, concurrency, rate, periodMs, burst, whenOver }: CodeLimit): string {
  return JSON.stringify([name, [...types].sort(), per, concurrency, rate, periodMs, burst, whenOver])
}
