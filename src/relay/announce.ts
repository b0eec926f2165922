import type { Broker } from '../broker/broker.js'
import type { Log } from '../log.js'
import type { Event } from '../protocol/stream.js'

/**
 * Publishes committed transitions in the background. While the broker is away, publishing fails; that must not hold up
 * a step of the relay. Streams then read positions from PostgreSQL.
 */
export function announce({ broker, log }: { broker: Pick<Broker, 'events'>; log: Log }, events: readonly Event[]): void {
  if (events.length === 0) return
  broker.events.publish(events).catch((error: unknown) => log.warn({ err: error, count: events.length }, 'transitions were not published; streams read them from PostgreSQL'))
}
