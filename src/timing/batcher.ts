/**
 * Writes what arrives together in one go.
 *
 * Promise: an item's answer comes after the write that holds it has ended, and no item waits for a timer. While
 * nothing is under way, what has gathered goes at the end of the turn of the event loop. While a batch is, items gather
 * until it ends, or until they are worth a write of their own, which then goes beside it: so batches grow with load and
 * vanish without it. What goes next goes before the answers of what ended are handed out, so that the other side works while they are.
 *
 * A batch that takes long holds up what gathers behind it, so `write` needs a deadline.
 *
 * When a batch fails and one of its items may be to blame, its items are tried one by one, so that one bad item cannot fail
 * its neighbours.
 */
export interface BatcherOptions<Item, Answer> {
  /** Writes the items; answers in their order. */
  write(items: readonly Item[]): Promise<readonly Answer[]>
  /** Items of a batch at most. Default 256. */
  maxBatch?: number
  /** Items that make a batch worth going beside another one. Default 32. */
  minConcurrentBatchSize?: number
  /** Batches under way at most. Default 2. */
  maxInFlight?: number
  /** Whether one of the items may be to blame when a batch fails; then they are tried one by one. Must not throw. Default: never. */
  isItemsFault?(error: unknown): boolean
}

export interface Batcher<Item, Answer> {
  add(item: Item): Promise<Answer>
  /** Resolves when nothing waits and nothing is under way. */
  whenIdle(): Promise<void>
}

interface Entry<Item, Answer> {
  item: Item
  resolve(answer: Answer): void
  reject(error: unknown): void
}

export function createBatcher<Item, Answer>(options: BatcherOptions<Item, Answer>): Batcher<Item, Answer> {
  const { write, maxBatch = 256, minConcurrentBatchSize = 32, maxInFlight = 2, isItemsFault = () => false } = options
  let waiting: Entry<Item, Answer>[] = []
  let inFlight = 0
  let isScheduled = false
  const onIdle: (() => void)[] = []

  const isIdle = () => inFlight === 0 && waiting.length === 0

  function schedule(): void {
    if (isScheduled) return
    isScheduled = true
    setImmediate(() => {
      isScheduled = false
      goIfDue()
    })
  }

  function goIfDue(): void {
    const isDue = inFlight === 0 ? waiting.length > 0 : waiting.length >= minConcurrentBatchSize
    if (!isDue || inFlight >= maxInFlight) return
    const batch = waiting.slice(0, maxBatch)
    waiting = waiting.slice(maxBatch)
    inFlight += 1
    void settle(batch)
  }

  function ended(): void {
    inFlight -= 1
    goIfDue()
  }

  async function settle(batch: readonly Entry<Item, Answer>[]): Promise<void> {
    const give = await writeBatch(batch)
    ended()
    give()
    if (isIdle()) onIdle.splice(0).forEach((resolve) => resolve())
  }

  /** Resolves, when it is over, with what hands the answers out. */
  async function writeBatch(batch: readonly Entry<Item, Answer>[]): Promise<() => void> {
    try {
      const answers = await write(batch.map((entry) => entry.item))
      return () => batch.forEach((entry, index) => entry.resolve(answers[index] as Answer))
    } catch (error) {
      if (batch.length === 1 || !isItemsFault(error)) return () => batch.forEach((entry) => entry.reject(error))
      const given = await Promise.all(batch.map((entry) => writeBatch([entry])))
      return () => given.forEach((give) => give())
    }
  }

  return {
    add(item) {
      return new Promise<Answer>((resolve, reject) => {
        waiting.push({ item, resolve, reject })
        if (waiting.length >= minConcurrentBatchSize) goIfDue()
        else if (inFlight === 0) schedule()
      })
    },
    async whenIdle() {
      if (!isIdle()) await new Promise<void>((resolve) => onIdle.push(resolve))
    },
  }
}
