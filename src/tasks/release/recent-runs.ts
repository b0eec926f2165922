/** How long attempts took lately, by type and by queue; read again every few seconds. */
import type { Database } from '../../db/database.js'
import { readRuns, type Run } from '../../store/release/runs.js'

const FRESH_MS = 3_000
/** More types than this are not remembered. */
const MAX_TYPES = 1_000

/** Of the attempts of one type or queue. */
export interface RunTimes {
  meanMs: number
  deviationMs: number
  /** A quarter of the attempts took less. */
  quickMs: number
  /** Between a start and the next, while the queue was busy: what ends and starts cost included. */
  gapMs: number
}

interface Read {
  atMs: number
  runs: Promise<Run[]>
}

export class RecentRuns {
  readonly #db: Database
  readonly #reads = new Map<string, Read>()

  constructor(db: Database) {
    this.#db = db
  }

  /** The latest attempts; among them some of these types, if any have run. */
  async read(types: readonly string[]): Promise<Run[]> {
    const nowMs = performance.now()
    const stale = types.filter((type) => nowMs - (this.#reads.get(type)?.atMs ?? -FRESH_MS) >= FRESH_MS)
    if (stale.length > 0) {
      if (this.#reads.size > MAX_TYPES) this.#reads.clear()
      const runs = readRuns(this.#db, stale)
      for (const type of stale) this.#reads.set(type, { atMs: nowMs, runs })
      // Not to be repeated for the next seconds when it has failed.
      runs.catch(() => stale.forEach((type) => this.#reads.delete(type)))
    }
    const distinct = new Set(types.flatMap((type) => this.#reads.get(type)?.runs ?? []))
    const lists = await Promise.all(distinct)
    return lists.length === 1 ? (lists[0] ?? []) : uniqueRuns(lists.flat())
  }
}

/** Reads overlap. */
function uniqueRuns(runs: readonly Run[]): Run[] {
  const byName = new Map(runs.map((run) => [`${run.type} ${run.queue} ${run.startedAt} ${run.tookMs}`, run]))
  return [...byName.values()]
}

/** Undefined when there are none. */
export function toRunTimes(runs: readonly Run[]): RunTimes | undefined {
  if (runs.length === 0) return undefined
  const meanMs = runs.reduce((sum, { tookMs }) => sum + tookMs, 0) / runs.length
  const variance = runs.reduce((sum, { tookMs }) => sum + (tookMs - meanMs) ** 2, 0) / runs.length
  const starts = runs.map(({ startedAt }) => startedAt).sort((a, b) => a - b)
  const gaps = starts.slice(1).map((at, index) => at - (starts[index] ?? at))
  // Longer ones are times in which nothing waited.
  const busy = gaps.filter((gap) => gap <= 3 * meanMs + 500)
  const gapMs = busy.length > 0 ? busy.reduce((sum, gap) => sum + gap, 0) / busy.length : meanMs
  const took = runs.map(({ tookMs }) => tookMs).sort((a, b) => a - b)
  const quickMs = took[Math.floor(took.length / 4)] ?? meanMs
  return { meanMs, deviationMs: Math.sqrt(variance), quickMs, gapMs }
}
