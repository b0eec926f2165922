/** The share of retries among the starts of a gated queue, while first attempts wait too. */
import t from 'tap'
import { takeDueDeliveries } from '../../src/store/deliveries/take-due.js'
import type { NewTask } from '../../src/store/tasks/create.js'
import { openReleaseStore } from '../helpers/release-store.js'

const { db, run, openQueue, store, release, claim, end } = await openReleaseStore(t)

/** A queue of this many slots, with a limit that none of its tasks reaches, so that they are gated. */
async function openGatedQueue(slots: number): Promise<string> {
  const queue = await openQueue(slots)
  await run(
    `insert into taskwire.limits (name, queue, concurrency, set_by) values ('many-${queue}', '${queue}', 1000, 'test')`,
  )
  return queue
}

/** Stores tasks whose first attempt has failed and whose second is due. */
async function storeFailed(count: number, task: Partial<NewTask> & { queue: string }): Promise<string[]> {
  const ids = await store(count, { maxAttempts: 3, ...task })
  for (let left = count; left > 0;) {
    const released = await release()
    for (const id of released) {
      await claim(id)
      await end(id, { outcome: 'failed', status: 'RETRYING', reason: 'no', retryInMs: 0 })
    }
    left -= released.length
  }
  await takeDueDeliveries(db, task.queue, 1_000, 60_000)
  return ids
}

/** Runs one task after the other until none is released. Returns for each whether it was one of these. */
async function runAll(ids: readonly string[]): Promise<boolean[]> {
  const order: boolean[] = []
  for (;;) {
    const released = await release()
    if (released.length === 0) return order
    for (const id of released) {
      const attempt = ids.includes(id) ? 2 : 1
      await claim(id, attempt)
      await end(id, { attempt })
      order.push(ids.includes(id))
    }
  }
}

const count = (order: readonly boolean[]) => order.filter(Boolean).length

t.test('while first attempts wait, at most half of the starts are retries; then all are', async (t) => {
  const queue = await openGatedQueue(1)
  const failed = await storeFailed(30, { queue })
  await store(10, { queue })
  const order = await runAll(failed)
  t.equal(order.length, 40)
  t.ok(count(order.slice(0, 20)) <= 11, `${count(order.slice(0, 20))} of the first 20 starts`)
  t.ok(count(order.slice(0, 20)) >= 9, 'and the retries get their half')
  t.ok(order.slice(21).every(Boolean), 'no start is left out when only retries wait')
})

t.test('retries of a key come from the share of the key', async (t) => {
  const queue = await openGatedQueue(1)
  const failed = await storeFailed(30, { queue, more: { concurrencyKey: 'a' } })
  await store(10, { queue, more: { concurrencyKey: 'a' } })
  await store(20, { queue, more: { concurrencyKey: 'b' } })
  const order = await runAll(failed)
  t.equal(order.length, 60)
  const retries = count(order.slice(0, 40))
  t.ok(retries >= 9 && retries <= 11, `${retries} of the first 40 starts; 20 are those of the other key`)
})

t.test('a sequence keeps its order: the retry of its first task comes before all others', async (t) => {
  const queue = await openGatedQueue(5)
  const ids = await store(3, { queue, maxAttempts: 3, more: { sequenceKey: `s-${queue}` } })
  t.same(await release(), ids.slice(0, 1))
  await claim(ids[0] ?? '')
  await end(ids[0] ?? '', { outcome: 'failed', status: 'RETRYING', reason: 'no', retryInMs: 0 })
  t.same(await release(), [], 'the others wait while it is not due')
  await takeDueDeliveries(db, queue, 1_000, 60_000)
  t.same(await release(), ids.slice(0, 1))
})

t.test('a retry that was dispatched although it is gated waits in the lane of retries', async (t) => {
  const queue = await openGatedQueue(1)
  const failed = await storeFailed(10, { queue })
  // As if the process that dispatched them did not know of the limit.
  await run(
    `update taskwire.deliveries set lane_id = null, due_at = now() + interval '1 min', hand_overs = 1 where queue = '${queue}'`,
  )
  await run(`delete from taskwire.lanes where queue = '${queue}'`)
  for (const id of failed) t.match(await claim(id, 2), { isGated: true })
  await store(10, { queue })
  const order = await runAll(failed)
  t.equal(order.length, 20)
  t.ok(count(order.slice(0, 10)) <= 6, `${count(order.slice(0, 10))} of the first 10 starts`)
})
