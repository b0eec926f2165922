import t from 'tap'
import { validate, version } from 'uuid'
import { createTaskId } from '../../../src/tasks/create/task-id.js'

t.test('ids are UUIDs of version 7, unique and in order, however fast they are made', async (t) => {
  const before = Date.now()
  const ids = Array.from({ length: 50_000 }, () => createTaskId())
  t.ok(ids.every((id) => validate(id) && version(id) === 7))
  t.equal(new Set(ids).size, ids.length)
  t.same(ids, ids.toSorted())
  const madeAt = Number.parseInt((ids[0] ?? '').replace('-', '').slice(0, 12), 16)
  t.ok(madeAt >= before && madeAt <= Date.now())
})

t.test('the random part differs between ids', async (t) => {
  const tails = Array.from({ length: 1_000 }, () => createTaskId().slice(-10))
  t.equal(new Set(tails).size, 1_000)
})
