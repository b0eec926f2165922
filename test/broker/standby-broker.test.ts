/** Which broker carries the tasks, without servers. `fault/standby` tests the same with real servers. */
import t from 'tap'
import type { Broker, Consumer } from '../../src/broker/broker.js'
import { withStandby } from '../../src/broker/standby-broker.js'
import { createLog } from './brokers.js'

/** A broker whose consumers open through `open`. */
function fakeBroker(ping: () => Promise<void>, open: () => Promise<Consumer>): Broker {
  const queue = { add: async () => {}, countWaiting: async () => 0, consume: open }
  return { kind: 'redis', queue, events: {}, ping, close: async () => {} } as unknown as Broker
}

function createConsumer(onStop = () => {}): Consumer {
  return { pause: async () => {}, resume: async () => {}, submit() {}, stop: async () => onStop() }
}

t.test('a consumer that fails to join the standby joins it later, and leaves it when Redis is back', async (t) => {
  let isAway = true
  let opened = 0
  let onLeft = () => {}
  const left = new Promise<void>((resolve) => (onLeft = resolve))
  const primary = fakeBroker(
    async () => {
      if (isAway) throw new Error('away')
    },
    async () => createConsumer(),
  )
  const standby = fakeBroker(
    async () => {},
    async () => {
      opened += 1
      if (opened === 1) throw new Error('too many connections')
      isAway = false
      return createConsumer(onLeft)
    },
  )
  const broker = withStandby({ primary, openStandby: async () => standby, log: createLog() })
  t.teardown(() => broker.close())
  const consumer = await broker.queue.consume(async () => {}, { queue: 'default', concurrency: 1 })
  // The periodic check of the standby does not keep the process alive.
  const awake = setInterval(() => {}, 1_000)
  await left
  clearInterval(awake)
  t.equal(opened, 2)
  await consumer.stop()
})
