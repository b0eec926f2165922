/**
 * Bounds this worker's limited resources, across queues: runs of a type with a `concurrency`, processes of handlers,
 * and slots for suspects, i.e. attempts whose worker was lost before.
 *
 * - Only PostgreSQL knows a task's type. So the claim returns what an attempt needs, and refuses an attempt without a
 *   slot.
 * - An attempt without a free slot waits here, unclaimed. Meanwhile it takes no capacity of its queue, holds no lease
 *   and no time limit runs. When a slot is free, it goes through its queue again, within that queue's concurrency.
 * - Waiting attempts are in memory only. Their deliveries stay in PostgreSQL, and the relay redelivers them after each
 *   claim window, perhaps to another worker with a free slot. Beyond `MAX_WAITING` of a kind they are left to the
 *   relay.
 */
import type { Delivery } from '../broker/broker.js'
import { MAX_PRIORITY } from '../protocol/limits.js'

/** Most deliveries with the same needs that wait in memory. */
const MAX_WAITING = 1_000
const PRIORITIES = MAX_PRIORITY + 1

export interface SlotsOptions {
  /** Number of slots of each kind. A kind that is missing is unbounded. */
  capacities: ReadonlyMap<string, number>
  /** The kinds that a queue's deliveries will most likely need. Saves a refused claim. */
  expectNeeds(queue: string): readonly string[]
  /**
   * Starts the attempt. Resolves with the kinds that it lacks when it could not start, and otherwise with undefined
   * when it is over.
   */
  start(delivery: Delivery, held: readonly string[]): Promise<readonly string[] | undefined>
  /** Sends a delivery through `run` again, within its queue's concurrency. */
  resubmit(delivery: Delivery): void
}

export interface Slots {
  run(delivery: Delivery): Promise<void>
  /** The delivery will not run here: gives back the slots that it was granted while it waited. */
  leave(delivery: Delivery): void
}

/** Waiting deliveries with the same needs. */
interface WaitList {
  needs: readonly string[]
  /** One list for each priority, first come first served; the highest is served first. */
  byPriority: Delivery[][]
  count: number
}

export function createSlots({ capacities, expectNeeds, start, resubmit }: SlotsOptions): Slots {
  const used = new Map<string, number>()
  const waitLists = new Map<string, WaitList>()
  const waiting = new Set<string>()
  const granted = new Map<Delivery, readonly string[]>()

  /** Takes all slots, or none. */
  function take(needs: readonly string[]): boolean {
    if (needs.some((kind) => (used.get(kind) ?? 0) >= (capacities.get(kind) ?? Infinity))) return false
    for (const kind of needs) used.set(kind, (used.get(kind) ?? 0) + 1)
    return true
  }

  function give(held: readonly string[]): void {
    for (const kind of held) used.set(kind, (used.get(kind) ?? 0) - 1)
    for (const list of waitLists.values()) wake(list)
  }

  function wake(list: WaitList): void {
    while (list.count > 0 && take(list.needs)) {
      const delivery = list.byPriority.findLast((queue) => queue.length > 0)?.shift()
      if (delivery === undefined) return
      list.count -= 1
      waiting.delete(nameOf(delivery))
      granted.set(delivery, list.needs)
      resubmit(delivery)
    }
  }

  function wait(delivery: Delivery, needs: readonly string[]): void {
    const name = needs.join()
    const list = waitLists.get(name) ?? { needs, byPriority: Array.from({ length: PRIORITIES }, () => []), count: 0 }
    waitLists.set(name, list)
    if (list.count >= MAX_WAITING) return
    list.byPriority[Math.min(delivery.priority, PRIORITIES - 1)]?.push(delivery)
    list.count += 1
    waiting.add(nameOf(delivery))
    // A slot may have become free while the claim was under way.
    wake(list)
  }

  async function run(delivery: Delivery): Promise<void> {
    // The relay may redeliver it while it waits here.
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

  function leave(delivery: Delivery): void {
    const held = granted.get(delivery)
    if (held === undefined) return
    granted.delete(delivery)
    give(held)
  }

  return { run, leave }
}

function nameOf({ taskId, attempt }: Delivery): string {
  return `${taskId} ${attempt}`
}
