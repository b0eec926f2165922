/**
 * Knows which new tasks may be held back, so that they are written into their lanes at once, and all others go to the
 * broker.
 *
 * The copy is up to two seconds old. That costs time and nothing else: the claim refuses a task that was dispatched and
 * is gated by now, and a task that waits in a lane for nothing is released by the next release.
 */
import type { Database } from '../../db/database.js'
import type { Log } from '../../log.js'
import { readGates, type Gates } from '../../store/release/read-gates.js'
import type { NewTask } from '../../store/tasks/create.js'
import { startInterval, type Interval } from '../../timing/interval.js'

const REFRESH_MS = 2_000

/** Reads what holds tasks, and keeps it current. */
export async function openGateCache(db: Database, log: Log): Promise<GateCache> {
  const gates = new GateCache(db, log)
  await gates.refresh()
  return gates
}

/** What decides whether a task is gated. */
type GatedBy = Pick<NewTask, 'type' | 'queue' | 'tenant' | 'more'>

export class GateCache {
  readonly #db: Database
  readonly #refreshing: Interval
  #gates: Gates = { limits: [], pauses: [], queueTenants: [] }
  #tenants = new Map<string, Set<string>>()

  constructor(db: Database, log: Log) {
    this.#db = db
    this.#refreshing = startInterval(() => this.refresh(), {
      everyMs: REFRESH_MS,
      onError: (error) => log.warn({ err: error }, 'limits and pauses could not be read; trying again'),
    })
  }

  /** Reads what holds tasks now. */
  async refresh(): Promise<void> {
    this.#gates = await readGates(this.#db)
    const tenants = new Map<string, Set<string>>()
    for (const { queue, tenant } of this.#gates.queueTenants)
      tenants.set(queue, (tenants.get(queue) ?? new Set()).add(tenant))
    this.#tenants = tenants
  }

  /**
   * Marks a task that may be held back, and one whose tenant is new in its queue, which is noted with it. Any other is
   * returned as it is.
   */
  mark<Task extends NewTask>(task: Task): Task {
    const tenants = this.#tenants.get(task.queue) ?? new Set()
    const isNew = !tenants.has(task.tenant)
    if (isNew) this.#tenants.set(task.queue, tenants.add(task.tenant))
    const isGated = tenants.size > 1 || this.#isHeld(task)
    return isGated || isNew ? { ...task, isGated } : task
  }

  stop(): void {
    this.#refreshing.stop()
  }

  #isHeld({ type, queue, tenant, more }: GatedBy): boolean {
    if (more?.concurrencyKey !== undefined || more?.sequenceKey !== undefined) return true
    const names = { queue, type, tenant }
    return (
      this.#gates.limits.some(
        (limit) =>
          (limit.types?.includes(type) ?? true) &&
          (limit.queue ?? queue) === queue &&
          (limit.tenant ?? tenant) === tenant,
      ) || this.#gates.pauses.some(({ kind, name }) => names[kind] === name)
    )
  }
}
