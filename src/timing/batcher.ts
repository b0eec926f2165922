/**
 * Writes items that arrive together in one batch.
 *
 * Guarantees: an item's promise resolves after the write that holds it, and no item waits for a timer. While no batch
 * is under way, the gathered items are sent at the end of the turn of the event loop. While one is, items gather until
 * it ends, or until there are enough for a batch of their own, which is then sent concurrently. So batches grow with
 * load and vanish without it. The next batch is sent before the finished one's promises resolve, so that the other side
 * works meanwhile.
 *
 * A slow batch holds up the items that gather behind it, so `write` needs a deadline.
 *
 * When a batch fails and one of its items may be the cause, its items are retried one by one, so that a bad item cannot
 * fail its neighbours.
 */
export interface BatcherOptions<Item, Answer> {
  /** Writes the items. Returns the answers in the same order. */
  write(items: readonly Item[]): Promise<readonly Answer[]>
  /** Most items of a batch. Default 256. */
  maxBatch?: number
  /** Fewest items for a batch that is sent beside another. Default 32. */
  minConcurrentBatchSize?: number
  /** Most batches under way. Default 2. */
  maxInFlight?: number
  /**
   * Whether an item may have made the batch fail; the items are then retried one by one. Must not throw. Default:
   * never.
   */
  isItemsFault?(error: unknown): boolean
}

export interface Batcher<Item, Answer> {
  add(item: Item): Promise<Answer>
  /** Resolves when no item waits and no batch is under way. */
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

  /** Resolves when the batch is done, with a function that settles its items' promises. */
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
