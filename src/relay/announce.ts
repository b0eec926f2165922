import type { Broker } from '../broker/broker.js'
import type { Log } from '../log.js'
import type { Event } from '../protocol/stream.js'

/**
 * Publishes what was committed, beside the step. While the broker is away that fails, and must hold up no step: watchers read
 * positions from PostgreSQL then.
 */
export function announce({ broker, log }: { broker: Pick<Broker, 'events'>; log: Log }, events: readonly Event[]): void {
  if (events.length === 0) return
  broker.events.publish(events).catch((error: unknown) => log.warn({ err: error, count: events.length }, 'transitions were not published'))
}
