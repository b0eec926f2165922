/**
 * The types whose handlers have ended a process. Their tasks run in processes of their own for a while: otherwise each
 * of them would take the other attempts of its worker along again.
 *
 * Other workers learn of it with their next heartbeat. PostgreSQL keeps the types, because the workers do not live long
 * enough.
 */
import type { Database } from '../db/database.js'
import { toStorableText } from '../protocol/text.js'
import type { Log } from '../log.js'
import { quarantineType } from '../store/quarantine.js'

const MAX_REASON_LENGTH = 500

export interface QuarantineOptions {
  db: Database
  log: Log
  /** For how long, in milliseconds; 0: no type is quarantined. */
  forMs: number
}

export class Quarantine {
  readonly #options: QuarantineOptions
  #types: ReadonlySet<string> = new Set()
  /** Types that PostgreSQL does not have yet, each with the reason. */
  readonly #unstored = new Map<string, string>()
  #storing = 0
  /** Additions that were stored. */
  #revision = 0

  constructor(options: QuarantineOptions) {
    this.#options = options
  }

  get types(): readonly string[] {
    return [...this.#types]
  }

  get revision(): number {
    return this.#revision
  }

  has(type: string): boolean {
    return this.#types.has(type)
  }

  /** A handler of this type ended its process, or did what would have ended it. Never rejects. */
  async add(type: string, reason: string): Promise<void> {
    const { log, forMs } = this.#options
    if (forMs === 0) return
    if (!this.has(type))
      log.warn(
        { type, reason, forSeconds: forMs / 1_000 },
        'tasks of this type run in processes of their own for a while, because one of them ended its process',
      )
    this.#types = new Set([...this.#types, type])
    this.#unstored.set(type, toStorableText(reason, MAX_REASON_LENGTH))
    await this.#store()
  }

  /**
   * Takes what PostgreSQL says with a heartbeat, unless a type was added since the heartbeat was sent. What could not be
   * stored is kept, and stored again.
   * @param revision that of the moment when it was sent
   */
  replace(types: readonly string[], revision: number): void {
    if (this.#storing > 0 || revision !== this.#revision) return
    this.#types = new Set(this.#options.forMs === 0 ? [] : [...types, ...this.#unstored.keys()])
    void this.#store()
  }

  async #store(): Promise<void> {
    const { db, log, forMs } = this.#options
    this.#storing += 1
    for (const [type, reason] of [...this.#unstored])
      try {
        await quarantineType(db, type, reason, forMs)
        this.#unstored.delete(type)
        this.#revision += 1
      } catch (error) {
        log.warn({ err: error, type }, 'other workers do not know yet that a type ends its process; trying again')
      }
    this.#storing -= 1
  }
}
