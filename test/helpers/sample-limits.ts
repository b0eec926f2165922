/** Samples how many attempts of a type are released or running. PostgreSQL does so itself, each 10 ms. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../../src/db/database.js'

/** So many in one statement, which then takes a quarter of a second. */
const ROUNDS = 25
/** Until PostgreSQL is asked again after it did not answer. */
const PAUSE_MS = 100

export interface Sampling {
  samples: number
  /** The most at a time. */
  mostOfAll: number
  /** The most of one concurrency key at a time. */
  mostOfKey: number
}

/** For a database with a release log (`release-log.ts`). */
export function startSampling(db: Database, type: string): { stop(): Promise<Sampling> } {
  const text = `select samples, most_of_all as "mostOfAll", most_of_key as "mostOfKey" from observed.sample($1, $2::text::integer)`
  const sampling: Sampling = { samples: 0, mostOfAll: 0, mostOfKey: 0 }
  let isStopped = false
  const done = (async () => {
    while (!isStopped) {
      const [some] = await db.run<Sampling>({ name: 'sample', text }, [type, String(ROUNDS)]).catch(() => [])
      if (some === undefined) await sleep(PAUSE_MS)
      else {
        sampling.samples += some.samples
        sampling.mostOfAll = Math.max(sampling.mostOfAll, some.mostOfAll)
        sampling.mostOfKey = Math.max(sampling.mostOfKey, some.mostOfKey)
      }
    }
  })()
  return {
    async stop() {
      isStopped = true
      await done
      return sampling
    },
  }
}
