/** Concurrent subscriptions of one connection, without a socket. `web/subscription-socket` tests them over one. */
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { Subscriptions, type SubscriptionsDeps } from '../../src/live/subscriptions.js'
import type { SocketAnswer } from '../../src/protocol/subscription.js'
import { settle } from './world.js'

t.test('a subscription that ended while its tasks were read follows nothing, even if its id is reused', async (t) => {
  const answers: SocketAnswer[] = []
  const followed: string[] = []
  const reads: ((ids: string[]) => void)[] = []
  const subscriptions = new Subscriptions({
    principal: DEFAULT_PRINCIPAL,
    hub: {
      find: async () => true,
      attach: (_principal, id) => {
        followed.push(id)
        return { drained() {}, stop() {} }
      },
    },
    lists: {
      find: () =>
        new Promise((resolve) =>
          reads.push((ids) =>
            resolve(
              ids.map((id) => ({
                id,
                status: 'PENDING' as const,
                version: 1,
                stamp: '1',
                createdAt: '2026-11-20T21:22:23.456Z',
              })),
            ),
          ),
        ),
      watchFits: async () => ({ stop() {} }),
      open: async () => {
        throw new Error('no list here')
      },
    },
    sink: { send() {}, sendList() {}, bufferedBytes: () => 0, close() {} },
    answer: (message) => void answers.push(message),
  } satisfies SubscriptionsDeps)
  const first = subscriptions.subscribe({ type: 'subscribe', id: 'a', selection: { type: 'first' } })
  await settle()
  subscriptions.unsubscribe('a')
  const second = subscriptions.subscribe({ type: 'subscribe', id: 'a', selection: { type: 'second' } })
  await settle()
  reads[0]?.(['one'])
  reads[1]?.(['two'])
  await Promise.all([first, second])
  t.same(followed, ['two'])
  t.same(
    answers.map(({ type }) => type),
    ['unsubscribed', 'subscribed'],
  )
})
