/**
 * Bounds what is scarce in this worker, whatever queue it comes from: the runs of a type with a `concurrency`, the processes of
 * handlers, and the places of suspects, whose worker was lost before.
 *
 * - Only PostgreSQL knows the type of a task, so the claim says what an attempt needs, and claims none that holds no slot for it.
 * - An attempt that finds no slot waits here, unclaimed. It takes no place of its queue meanwhile, so that others of the queue go
 *   on, it has no lease, and no time limit runs. When its turn comes, it goes through its queue again, within that queue's bounds.
 * - What waits here is in memory only: its delivery stays in PostgreSQL, and the relay hands it over again after each claim window,
 *   perhaps to another worker that has a slot. Beyond `MAX_WAITING` of a kind they are left to that.
 */
import type { Delivery } from '../broker/broker.js'
import { MAX_PRIORITY } from '../protocol/limits.js'

/** Deliveries with the same needs that wait in memory. */
const MAX_WAITING = 1_000
const PRIORITIES = MAX_PRIORITY + 1

export interface SlotsOptions {
  /** How many slots there are of each kind; unbounded when left out. */
  capacities: ReadonlyMap<string, number>
  /** What the deliveries of a queue will most likely need: it spares them a claim in vain. */
  expectNeeds(queue: string): readonly string[]
  /** Starts the attempt; resolves with what it needs besides when it could not start, and otherwise when it is over. */
  start(delivery: Delivery, held: readonly string[]): Promise<readonly string[] | undefined>
  /** Brings a delivery back to `run`, within the bounds of its queue. */
  resubmit(delivery: Delivery): void
}

export interface Slots {
  run(delivery: Delivery): Promise<void>
}

/** Deliveries with the same needs. */
interface Line {
  needs: readonly string[]
  /** The first to be taken last, by priority. */
  byPriority: Delivery[][]
  count: number
}

export function createSlots({ capacities, expectNeeds, start, resubmit }: SlotsOptions): Slots {
  const used = new Map<string, number>()
  const lines = new Map<string, Line>()
  const waiting = new Set<string>()
  const granted = new Map<Delivery, readonly string[]>()

  /** All of them, or none. */
  function take(needs: readonly string[]): boolean {
    if (needs.some((kind) => (used.get(kind) ?? 0) >= (capacities.get(kind) ?? Infinity))) return false
    for (const kind of needs) used.set(kind, (used.get(kind) ?? 0) + 1)
    return true
  }

  function give(held: readonly string[]): void {
    for (const kind of held) used.set(kind, (used.get(kind) ?? 0) - 1)
    for (const line of lines.values()) wake(line)
  }

  function wake(line: Line): void {
    while (line.count > 0 && take(line.needs)) {
      const delivery = line.byPriority.findLast((queue) => queue.length > 0)?.shift()
      if (delivery === undefined) return
      line.count -= 1
      waiting.delete(nameOf(delivery))
      granted.set(delivery, line.needs)
      resubmit(delivery)
    }
  }

  function wait(delivery: Delivery, needs: readonly string[]): void {
    const name = needs.join()
    const line = lines.get(name) ?? { needs, byPriority: Array.from({ length: PRIORITIES }, () => []), count: 0 }
    lines.set(name, line)
    if (line.count >= MAX_WAITING) return
    line.byPriority[Math.min(delivery.priority, PRIORITIES - 1)]?.push(delivery)
    line.count += 1
    waiting.add(nameOf(delivery))
    // A slot may have become free while its claim was under way.
    wake(line)
  }

  async function run(delivery: Delivery): Promise<void> {
    // The relay hands it over again while it waits.
    if (waiting.has(nameOf(delivery))) return
    let held = granted.get(delivery)
    granted.delete(delivery)
    if (held === undefined) {
      const needs = expectNeeds(delivery.queue)
      if (!take(needs)) return wait(delivery, needs)
      held = needs
    }
    const needs = await start(delivery, held).finally(() => give(held))
    if (needs !== undefined) wait(delivery, needs)
  }

  return { run }
}

function nameOf({ taskId, attempt }: Delivery): string {
  return `${taskId} ${attempt}`
}
