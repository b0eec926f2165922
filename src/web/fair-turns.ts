/**
 * Lets a few calls run at a time, and clients take turns: one who asks for much waits for itself, not everybody for it.
 *
 * Calls of one client go in their order. One that has waited too long is refused when its turn comes, and one that comes when very
 * many wait is refused at once, so that nothing gathers without a bound.
 */
import { ProblemError } from './problem.js'

export interface FairTurnsOptions {
  maxUnderWay: number
  /** How long a call may wait for its turn. Default 3,000. */
  maxWaitMs?: number
  /** How many may wait, of all clients together. Default 2,000. */
  maxWaiting?: number
}

export interface FairTurns {
  /**
   * Calls `work` when it is the client's turn.
   * @param client who asks: anything that is the same for all that one client asks
   * @throws ProblemError `busy` when it would wait too long
   */
  take<Value>(client: unknown, work: () => Promise<Value>): Promise<Value>
}

interface Waiting {
  readonly sinceMs: number
  start(): void
  refuse(error: Error): void
}

export function createFairTurns({ maxUnderWay, maxWaitMs = 3_000, maxWaiting = 2_000 }: FairTurnsOptions): FairTurns {
  /** In the order in which clients have their turns. */
  const queues = new Map<unknown, Waiting[]>()
  let underWay = 0
  let waiting = 0

  const busy = () => new ProblemError('busy', 'Too many reads wait for the database.')

  function enter(client: unknown): Promise<void> | undefined {
    if (underWay < maxUnderWay) {
      underWay += 1
      return undefined
    }
    if (waiting >= maxWaiting) throw busy()
    waiting += 1
    return new Promise((start, refuse) => {
      const queue = queues.get(client) ?? []
      queues.set(client, queue)
      queue.push({ sinceMs: performance.now(), start, refuse })
    })
  }

  /** Hands the turn on. */
  function leave(): void {
    for (let next = takeNext(); next !== undefined; next = takeNext()) {
      if (performance.now() - next.sinceMs <= maxWaitMs) return next.start()
      next.refuse(busy())
    }
    underWay -= 1
  }

  /** The first of the client who has waited longest for a turn; then that client is last. */
  function takeNext(): Waiting | undefined {
    const [entry] = queues
    if (entry === undefined) return undefined
    const [client, queue] = entry
    const next = queue.shift()
    queues.delete(client)
    if (queue.length > 0) queues.set(client, queue)
    waiting -= 1
    return next
  }

  return {
    async take(client, work) {
      await enter(client)
      try {
        return await work()
      } finally {
        leave()
      }
    },
  }
}
