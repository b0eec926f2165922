/**
 * Redis with PostgreSQL in reserve: while Redis is away for longer than a moment, BullMQ's PostgreSQL backend carries the
 * deliveries, and when it answers again Redis does.
 *
 * - Redis is asked every half second. After `AWAY_AFTER_MS` without an answer deliveries go to the standby, and every
 *   consumer takes jobs from there as well. The first answer brings all back.
 * - What lies in the one that was left is not moved: each delivery is a row in PostgreSQL until it is claimed, and the relay
 *   hands it over again, wherever it has to. A job that is found later, in either, is refused by the claim.
 * - Events have no standby. The hub knows that Redis is down and reads positions from PostgreSQL four times a second.
 * - The standby is opened when it is first needed, so that it costs nothing before.
 */
import { startInterval } from '../timing/interval.js'
import type { Broker, Consumer, DeliveryQueue } from './broker.js'
import { createIncidentLog, type BrokerLog } from './incident-log.js'

const PROBE_INTERVAL_MS = 500
const PROBE_DEADLINE_MS = 1_000
const AWAY_AFTER_MS = 3_000

export interface StandbyOptions {
  primary: Broker
  /** Rejects when the standby cannot be used; it is asked again while it is needed. */
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
    const answers = await primary.ping({ deadlineMs: PROBE_DEADLINE_MS }).then(() => true, () => false)
    if (closing !== undefined) return
    if (answers) return returnToPrimary()
    awaySinceMs ??= performance.now()
    if (performance.now() - awaySinceMs >= AWAY_AFTER_MS) await moveToStandby()
  }

  /** Asked again and again while Redis is away: a consumer that could not join joins the next time. */
  async function moveToStandby(): Promise<void> {
    standby ??= await openStandby()
    if (closing !== undefined) return standby.close()
    if (current === primary) log.warn({}, 'Redis is away; PostgreSQL carries the tasks until it is back')
    current = standby
    await Promise.all([...consumers].map((consumer) => consumer.join(current.queue)))
  }

  function returnToPrimary(): void {
    awaySinceMs = undefined
    if (current === primary) return
    current = primary
    log.info({}, 'Redis is back and carries the tasks again')
    for (const consumer of consumers) consumer.leave()
  }

  const probing = startInterval(probe, {
    everyMs: PROBE_INTERVAL_MS,
    isBackground: true,
    onError: (error) => incidents.warn('Redis is away, and PostgreSQL cannot take its place', error),
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
        const consumer = pair(await primary.queue.consume(run, options), (queue) => queue.consume(run, options), () => consumers.delete(consumer))
        consumers.add(consumer)
        if (current !== primary) await consumer.join(current.queue)
        return consumer
      },
    },
    ping: (options) => current.ping(options),
    readEpoch: () => primary.readEpoch(),
    inspect: () => primary.inspect(),
    mend: () => primary.mend(),
    close: () => (closing ??= closeOnce()),
  }
}

interface PairedConsumer extends Consumer {
  /** Takes jobs from this queue as well. */
  join(queue: DeliveryQueue): Promise<void>
  /** Takes no more from there; what was taken goes on. */
  leave(): void
}

function pair(main: Consumer, open: (queue: DeliveryQueue) => Promise<Consumer>, onStop: () => void): PairedConsumer {
  let second: Promise<Consumer> | undefined
  let leaving: Promise<unknown> = Promise.resolve()
  let isPaused = false
  let stopping: Promise<void> | undefined

  /** With the one that is open, or about to be. */
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
      // What cannot be stopped ends with the standby.
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
