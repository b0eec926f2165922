/**
 * Hands new deliveries to the broker, beside the requests and never awaited by them.
 *
 * It is the short way, not the safe one: every delivery is a row in PostgreSQL until an attempt claims it, and the relay
 * delivers what is lost or left out here. It closes while the broker is deep in work, slow or away; then creates say so
 * in their rows (`claimWindowMs` 0) and the relay takes them in their turn.
 */
import type { FastifyBaseLogger } from 'fastify'
import type { Delivery, DeliveryQueue } from '../broker/broker.js'
import { startInterval } from '../timing/interval.js'

const SAMPLE_MS = 250
const MAX_IN_FLIGHT = 16

export interface HandOver {
  /** Whether deliveries of this queue that are written now will be handed over here. */
  isOpen(queue: string): boolean
  add(deliveries: readonly Delivery[]): void
  stop(): void
}

/** How deep a queue was at the last look, and what was added since. */
interface Depth {
  waiting: number
  handedSinceSample: number
}

export function startHandOver(options: { queue: DeliveryQueue; brokerWindow: number; log: FastifyBaseLogger }): HandOver {
  const { queue, brokerWindow, log } = options
  const depths = new Map<string, Depth>()
  let inFlight = 0
  let isUp = true

  async function sample(): Promise<void> {
    const busy = [...depths].filter(([, { waiting, handedSinceSample }]) => waiting + handedSinceSample > 0)
    if (isUp && busy.length === 0) return
    await Promise.all(busy.map(([name, depth]) => look(name, depth)))
    // One that is quiet is asked too, for nothing else tells that the broker is back.
    if (busy.length === 0) await queue.countWaiting('default')
    isUp = true
  }

  async function look(name: string, depth: Depth): Promise<void> {
    depth.waiting = await queue.countWaiting(name)
    depth.handedSinceSample = 0
    if (depth.waiting === 0) depths.delete(name)
  }

  function depthOf(name: string): Depth {
    const depth = depths.get(name) ?? { waiting: 0, handedSinceSample: 0 }
    depths.set(name, depth)
    return depth
  }

  const sampling = startInterval(sample, {
    everyMs: SAMPLE_MS,
    onError(error) {
      if (isUp) log.warn({ err: error }, 'the broker does not answer; new tasks wait for the relay')
      isUp = false
    },
  })

  return {
    isOpen(name) {
      const { waiting = 0, handedSinceSample = 0 } = depths.get(name) ?? {}
      return isUp && inFlight < MAX_IN_FLIGHT && waiting + handedSinceSample < brokerWindow
    },
    add(deliveries) {
      inFlight += 1
      for (const delivery of deliveries) depthOf(delivery.queue).handedSinceSample += 1
      queue
        .add(deliveries)
        .catch((error: unknown) => {
          if (isUp) log.warn({ err: error, count: deliveries.length }, 'a hand-over failed; the relay delivers these tasks')
          isUp = false
        })
        .finally(() => (inFlight -= 1))
    },
    stop: () => sampling.stop(),
  }
}
