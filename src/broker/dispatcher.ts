/**
 * Dispatches new deliveries to the broker, without the requests waiting for it.
 *
 * This is the fast path, not the safe one: every delivery is a row in PostgreSQL until an attempt claims it, and the
 * relay dispatches deliveries that are lost or skipped here. The path closes while the broker has a long backlog, is
 * slow or is away. Creates then say so in their rows (`claimWindowMs` 0), and the relay dispatches them later.
 */
import { startInterval } from '../timing/interval.js'
import type { Delivery, DeliveryQueue } from './broker.js'
import type { BrokerLog } from './incident-log.js'

const SAMPLE_MS = 250
const MAX_IN_FLIGHT = 16

export interface Dispatcher {
  /** Whether deliveries of this queue that are written now will be dispatched here. */
  isOpen(queue: string): boolean
  add(deliveries: readonly Delivery[]): void
  stop(): void
}

/** The depth of a queue at the last poll, and the number of deliveries added since. */
interface Depth {
  waiting: number
  addedSinceSample: number
}

export function startDispatcher(options: { queue: DeliveryQueue; brokerWindow: number; log: BrokerLog }): Dispatcher {
  const { queue, brokerWindow, log } = options
  const depths = new Map<string, Depth>()
  let inFlight = 0
  let isUp = true

  async function sample(): Promise<void> {
    const busy = [...depths].filter(([, { waiting, addedSinceSample }]) => waiting + addedSinceSample > 0)
    if (isUp && busy.length === 0) return
    await Promise.all(busy.map(([name, depth]) => poll(name, depth)))
    // An idle broker is polled too, because nothing else shows that it is back.
    if (busy.length === 0) await queue.countWaiting('default')
    isUp = true
  }

  async function poll(name: string, depth: Depth): Promise<void> {
    depth.waiting = await queue.countWaiting(name)
    depth.addedSinceSample = 0
    if (depth.waiting === 0) depths.delete(name)
  }

  function depthOf(name: string): Depth {
    const depth = depths.get(name) ?? { waiting: 0, addedSinceSample: 0 }
    depths.set(name, depth)
    return depth
  }

  const sampling = startInterval(sample, {
    everyMs: SAMPLE_MS,
    onError(error) {
      if (isUp) log.warn({ err: error }, 'the broker does not answer; the relay will dispatch new tasks')
      isUp = false
    },
  })

  return {
    isOpen(name) {
      const { waiting = 0, addedSinceSample = 0 } = depths.get(name) ?? {}
      return isUp && inFlight < MAX_IN_FLIGHT && waiting + addedSinceSample < brokerWindow
    },
    add(deliveries) {
      inFlight += 1
      for (const delivery of deliveries) depthOf(delivery.queue).addedSinceSample += 1
      queue
        .add(deliveries)
        .catch((error: unknown) => {
          if (isUp)
            log.warn(
              { err: error, count: deliveries.length },
              'could not dispatch new tasks; the relay will dispatch them',
            )
          isUp = false
        })
        .finally(() => (inFlight -= 1))
    },
    stop: () => sampling.stop(),
  }
}
