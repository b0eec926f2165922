/**
 * Hands new deliveries to the broker, beside the requests and never awaited by them.
 *
 * It is the short way, not the safe one: every delivery is a row in PostgreSQL until an attempt claims it, and the relay
 * delivers what is lost or left out here. It closes while the broker is deep in work, slow or away; then creates say so
 * in their rows (`claimWindowMs` 0) and the relay takes them in their turn.
 */
import type { FastifyBaseLogger } from 'fastify'
import type { Delivery, DeliveryQueue } from '../broker/broker.js'

const SAMPLE_MS = 250
const MAX_IN_FLIGHT = 16

export interface HandOver {
  /** Whether deliveries written now will be handed over here. */
  isOpen(): boolean
  add(deliveries: readonly Delivery[]): void
  stop(): void
}

export function startHandOver(options: { queue: DeliveryQueue; brokerWindow: number; log: FastifyBaseLogger }): HandOver {
  const { queue, brokerWindow, log } = options
  let waiting = 0
  let handedSinceSample = 0
  let inFlight = 0
  let isUp = true
  let isSampling = false

  async function sample(): Promise<void> {
    if (isSampling || (isUp && handedSinceSample === 0 && waiting === 0)) return
    isSampling = true
    try {
      waiting = await queue.countWaiting()
      handedSinceSample = 0
      isUp = true
    } catch (error) {
      if (isUp) log.warn({ err: error }, 'the broker does not answer; new tasks wait for the relay')
      isUp = false
    } finally {
      isSampling = false
    }
  }
  const sampling = setInterval(() => void sample(), SAMPLE_MS)

  return {
    isOpen: () => isUp && inFlight < MAX_IN_FLIGHT && waiting + handedSinceSample < brokerWindow,
    add(deliveries) {
      inFlight += 1
      handedSinceSample += deliveries.length
      queue
        .add(deliveries)
        .catch((error: unknown) => {
          if (isUp) log.warn({ err: error, count: deliveries.length }, 'a hand-over failed; the relay delivers these tasks')
          isUp = false
        })
        .finally(() => (inFlight -= 1))
    },
    stop: () => clearInterval(sampling),
  }
}
