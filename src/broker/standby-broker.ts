/**
 * Redis with PostgreSQL as standby. When Redis is away for more than a moment, BullMQ's PostgreSQL backend carries the
 * deliveries until Redis answers again.
 *
 * - Redis is pinged every half second. After `AWAY_AFTER_MS` without an answer, new deliveries go to the standby, and
 *   every consumer takes jobs from there as well. The first answer switches everything back.
 * - Jobs in the broker that was left are not moved. Each delivery is a row in PostgreSQL until it is claimed, and the
 *   relay redelivers it where necessary. A job found later, in either broker, is refused by the claim.
 * - Events have no standby. The hub knows that Redis is down and reads positions from PostgreSQL four times a second.
 * - The standby is opened on first use, so it costs nothing before.
 */
import { startInterval } from '../timing/interval.js'
import type { Broker, Consumer, DeliveryQueue } from './broker.js'
import { createIncidentLog, type BrokerLog } from './incident-log.js'

const PROBE_INTERVAL_MS = 500
const PROBE_DEADLINE_MS = 1_000
const AWAY_AFTER_MS = 3_000

export interface StandbyOptions {
  primary: Broker
  /** Rejects when the standby cannot be used. Called again as long as the standby is needed. */
  openStandby(): Promise<Broker>
  log: BrokerLog
}

export function withStandby({ primary, openStandby, log }: StandbyOptions): Broker {
  const incidents = createIncidentLog(log)
  const consumers = new Set<PairedConsumer>()
  let standby: Broker | undefined
  let current = primary
  let awaySinceMs: number | undefined
  let closing: Promise<void> | undefined

  async function probe(): Promise<void> {
    const answers = await primary.ping({ deadlineMs: PROBE_DEADLINE_MS }).then(
      () => true,
      () => false,
    )
    if (closing !== undefined) return
    if (answers) return returnToPrimary()
    awaySinceMs ??= performance.now()
    if (performance.now() - awaySinceMs >= AWAY_AFTER_MS) await moveToStandby()
  }

  /** Called repeatedly while Redis is away: a consumer that failed to join tries again on the next call. */
  async function moveToStandby(): Promise<void> {
    standby ??= await openStandby()
    if (closing !== undefined) return standby.close()
    if (current === primary) log.warn({}, 'Redis is down; PostgreSQL carries the deliveries until it is back')
    current = standby
    await Promise.all([...consumers].map((consumer) => consumer.join(current.queue)))
  }

  function returnToPrimary(): void {
    awaySinceMs = undefined
    if (current === primary) return
    current = primary
    log.info({}, 'Redis is back and carries the deliveries again')
    for (const consumer of consumers) consumer.leave()
  }

  const probing = startInterval(probe, {
    everyMs: PROBE_INTERVAL_MS,
    isBackground: true,
    onError: (error) => incidents.warn('Redis is down, and PostgreSQL cannot take over; trying again', error),
  })

  async function closeOnce(): Promise<void> {
    probing.stop()
    await Promise.all([primary.close(), standby?.close()])
  }

  return {
    kind: primary.kind,
    events: primary.events,
    queue: {
      add: (deliveries, options) => current.queue.add(deliveries, options),
      countWaiting: (queue) => current.queue.countWaiting(queue),
      async consume(run, options) {
        const consumer = pair(
          await primary.queue.consume(run, options),
          (queue) => queue.consume(run, options),
          () => consumers.delete(consumer),
        )
        consumers.add(consumer)
        if (current !== primary) await consumer.join(current.queue)
        return consumer
      },
    },
    ping: (options) => current.ping(options),
    readEpoch: () => primary.readEpoch(),
    inspect: () => primary.inspect(),
    repair: () => primary.repair(),
    close: () => (closing ??= closeOnce()),
  }
}

interface PairedConsumer extends Consumer {
  /** Takes jobs from this queue as well. */
  join(queue: DeliveryQueue): Promise<void>
  /** Stops taking jobs from the second queue. Jobs already taken continue. */
  leave(): void
}

function pair(main: Consumer, open: (queue: DeliveryQueue) => Promise<Consumer>, onStop: () => void): PairedConsumer {
  let second: Promise<Consumer> | undefined
  let leaving: Promise<unknown> = Promise.resolve()
  let isPaused = false
  let stopping: Promise<void> | undefined

  /** Calls `act` with the second consumer, if one is open or opening. */
  async function withSecond(act: (consumer: Consumer) => Promise<void>): Promise<void> {
    const consumer = await second?.catch(() => undefined)
    if (consumer !== undefined) await act(consumer)
  }

  async function stop(): Promise<void> {
    onStop()
    await Promise.all([main.stop(), withSecond((consumer) => consumer.stop()), leaving])
  }

  return {
    async join(queue) {
      if (stopping !== undefined) return
      const joining = (second ??= open(queue))
      try {
        const consumer = await joining
        if (isPaused) await consumer.pause()
      } catch (error) {
        if (second === joining) second = undefined
        throw error
      }
    },
    leave() {
      const left = withSecond((consumer) => consumer.stop())
      second = undefined
      // A consumer that cannot be stopped ends with the standby.
      leaving = Promise.all([leaving, left.catch(() => {})])
    },
    submit: (delivery) => main.submit(delivery),
    async pause() {
      isPaused = true
      await Promise.all([main.pause(), withSecond((consumer) => consumer.pause())])
    },
    async resume() {
      isPaused = false
      await Promise.all([main.resume(), withSecond((consumer) => consumer.resume())])
    },
    stop: () => (stopping ??= stop()),
  }
}
