import t from 'tap'
import { createBatcher } from '../../src/timing/batcher.js'

t.test('items that arrive together are written together, and each gets its own answer', async (t) => {
  const batches: number[][] = []
  const batcher = createBatcher<number, number>({
    async write(items) {
      batches.push([...items])
      return items.map((item) => item * 10)
    },
  })
  t.same(await Promise.all([1, 2, 3].map((item) => batcher.add(item))), [10, 20, 30])
  t.same(batches, [[1, 2, 3]])
})

t.test('items gather while the maximum number of batches is in progress', async (t) => {
  const releases: (() => void)[] = []
  const sizes: number[] = []
  const batcher = createBatcher<number, undefined>({
    maxInFlight: 1,
    maxBatch: 3,
    async write(items) {
      sizes.push(items.length)
      await new Promise<void>((resolve) => releases.push(resolve))
      return []
    },
  })
  const added = [batcher.add(0)]
  while (sizes.length < 1) await new Promise(setImmediate)
  for (let item = 1; item <= 5; item += 1) added.push(batcher.add(item))
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate)
  t.same(sizes, [1])
  for (const expected of [2, 3]) {
    releases.shift()?.()
    while (sizes.length < expected) await new Promise(setImmediate)
  }
  releases.shift()?.()
  await Promise.all(added)
  t.same(sizes, [1, 3, 2])
})

t.test(
  'a large enough batch is sent beside another; a smaller one is sent before the promises of the finished one resolve',
  async (t) => {
    const said: string[] = []
    const releases: (() => void)[] = []
    const batcher = createBatcher<number, number>({
      minConcurrentBatchSize: 3,
      async write(items) {
        said.push(`write ${items.join(' ')}`)
        await new Promise<void>((resolve) => releases.push(resolve))
        return items
      },
    })
    const add = (item: number) => batcher.add(item).then(() => said.push(`answer ${item}`))
    const turns = async () => {
      for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate)
    }
    const added = [add(1)]
    await turns()
    added.push(add(2), add(3))
    await turns()
    t.same(said, ['write 1'], 'two items are not worth a batch')
    added.push(add(4))
    t.same(said, ['write 1', 'write 2 3 4'], 'three items are, at once')
    added.push(add(5), add(6), add(7), add(8))
    await turns()
    t.equal(said.length, 2, 'at most two batches are in progress')
    releases.shift()?.()
    await turns()
    t.same(said.slice(2), ['write 5 6 7 8', 'answer 1'])
    releases.splice(0).forEach((release) => release())
    await Promise.all(added)
    t.equal(said.length, 3 + 8)
  },
)

const isBadItem = (error: unknown) => error instanceof Error && error.message === 'bad item'

t.test('one bad item fails alone', async (t) => {
  const batcher = createBatcher<number, number>({
    isItemsFault: isBadItem,
    async write(items) {
      if (items.includes(13)) throw new Error('bad item')
      return [...items]
    },
  })
  const answers = await Promise.allSettled([1, 13, 2].map((item) => batcher.add(item)))
  t.same(
    answers.map((answer) => answer.status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
})

t.test('a failure not caused by an item fails the whole batch, without retrying its items', async (t) => {
  for (const options of [{ isItemsFault: isBadItem }, {}]) {
    let writes = 0
    const batcher = createBatcher<number, number>({
      ...options,
      async write() {
        writes += 1
        throw new Error('gone')
      },
    })
    const answers = await Promise.allSettled([1, 2].map((item) => batcher.add(item)))
    t.same(
      answers.map((answer) => answer.status),
      ['rejected', 'rejected'],
    )
    t.equal(writes, 1)
  }
})

t.test('it is idle once the last promise has settled', async (t) => {
  let release = () => {}
  const batcher = createBatcher<number, undefined>({
    async write() {
      await new Promise<void>((resolve) => (release = resolve))
      return []
    },
  })
  await batcher.whenIdle()
  const added = batcher.add(1)
  let isIdle = false
  const idle = batcher.whenIdle().then(() => (isIdle = true))
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate)
  t.notOk(isIdle)
  release()
  await Promise.all([added, idle])
})
