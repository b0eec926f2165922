/** What the hub keeps in memory of a watched task. */
import t from 'tap'
import { FoldedTask } from '../../src/live/folded-task.js'
import { toFrame } from '../../src/live/frame.js'
import { createHeldFrames } from '../../src/live/held-frames.js'
import type { TransitionMessage } from '../../src/protocol/stream.js'
import { ID, Store } from './world.js'

function begin() {
  const store = new Store()
  const known = new FoldedTask(() => {}, createHeldFrames(16 * 1024 * 1024))
  known.begin(store.create(ID), false)
  const take = (fields: Partial<TransitionMessage>) => known.apply(toFrame(store.commit(ID, 'PENDING', fields)))
  const kept = () => Array.from({ length: 100 }, (_, version) => version).filter((version) => known.find(version))
  return { known, take, kept }
}

t.test('the latest transitions are kept, however many there were', async (t) => {
  const { take, kept } = begin()
  for (let version = 2; version <= 60; version += 1) t.equal(take({}), 'applied')
  t.same(
    kept(),
    Array.from({ length: 32 }, (_, index) => 29 + index),
  )
})

t.test('only a few edits with large values are kept, and always the last one', async (t) => {
  const { known, take, kept } = begin()
  const edit = (kilobytes: number) => take({ edited: ['payload'], changes: { payload: 'x'.repeat(kilobytes * 1_024) } })
  for (let version = 2; version <= 20; version += 1) edit(20)
  t.same(kept(), [17, 18, 19, 20])
  edit(250)
  t.same(kept(), [18, 19, 20, 21])
  take({})
  t.same(kept(), [22], 'the large one is left out as soon as it is not the last')
  t.equal(known.task?.version, 22)
})
