/**
 * Runs a few calls at a time, with clients taking turns, so that a client with many calls delays only itself.
 *
 * Calls of one client run in order. A call that has waited too long is refused when its turn comes, and a call is
 * refused at once if too many are waiting, so the queue is bounded.
 */
import { ProblemError } from './problem.js'

export interface FairTurnsOptions {
  maxUnderWay: number
  /** How long a call may wait for its turn, in milliseconds. Default 3,000. */
  maxWaitMs?: number
  /** How many calls may wait, of all clients together. Default 2,000. */
  maxWaiting?: number
}

export interface FairTurns {
  /**
   * Calls `work` when it is the client's turn.
   * @param client identifies the caller: any value that is the same for all calls of one client
   * @throws ProblemError `busy` if it waited too long or too many calls are waiting
   */
  take<Value>(client: unknown, work: () => Promise<Value>): Promise<Value>
}

interface Waiting {
  readonly sinceMs: number
  start(): void
  refuse(error: Error): void
}

export function createFairTurns({ maxUnderWay, maxWaitMs = 3_000, maxWaiting = 2_000 }: FairTurnsOptions): FairTurns {
  /** In the order of the clients' turns. */
  const queues = new Map<unknown, Waiting[]>()
  let underWay = 0
  let waiting = 0

  const busy = () => new ProblemError('busy', 'Too many reads are waiting for the database.')

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

  /** Passes the turn on. */
  function leave(): void {
    for (let next = takeNext(); next !== undefined; next = takeNext()) {
      if (performance.now() - next.sinceMs <= maxWaitMs) return next.start()
      next.refuse(busy())
    }
    underWay -= 1
  }

  /** The first call of the client that has waited longest for a turn; that client then goes to the end. */
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
