import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { Limit, limitUnderWay } from '../../src/timing/limit.js'

/** Work that ends when the test says so. */
function createWork() {
  const begun: string[] = []
  const ends = new Map<string, () => void>()
  const start = (name: string) => {
    begun.push(name)
    return new Promise<string>((resolve) => ends.set(name, () => resolve(name)))
  }
  return { begun, start, end: (name: string) => ends.get(name)?.() }
}

t.test('calls beyond the limit start in order of arrival, as earlier ones end', async (t) => {
  const { begun, start, end } = createWork()
  const limit = new Limit(2)
  const all = ['a', 'b', 'c', 'd'].map((name) => limit.run(() => start(name)))
  t.same(begun, ['a', 'b'], 'calls below the limit begin at once')
  await nextTurn()
  t.same(begun, ['a', 'b'])
  t.equal(limit.underWay, 2)
  end('b')
  await nextTurn()
  t.same(begun, ['a', 'b', 'c'])
  end('a')
  end('c')
  await nextTurn()
  t.same(begun, ['a', 'b', 'c', 'd'])
  t.equal(limit.underWay, 1)
  end('d')
  t.same(await Promise.all(all), ['a', 'b', 'c', 'd'])
  t.equal(limit.underWay, 0)
})

t.test('work that fails frees its slot for the next', async (t) => {
  const limit = new Limit(1)
  const failing = limit.run(async () => {
    throw new Error('broken')
  })
  const next = limit.run(async () => 'next')
  await t.rejects(failing, { message: 'broken' })
  t.equal(await next, 'next')
  t.equal(limit.underWay, 0)
})

t.test('a waiting call can be aborted; a running one cannot', async (t) => {
  const { begun, start, end } = createWork()
  const limit = new Limit(1)
  const controller = new AbortController()
  const first = limit.run(() => start('a'), controller.signal)
  const calledOff = limit.run(() => start('b'), controller.signal)
  const last = limit.run(() => start('c'))
  const rejected = t.rejects(calledOff, { message: 'called off' })
  controller.abort(new Error('called off'))
  await rejected
  await t.rejects(
    limit.run(() => start('d'), controller.signal),
    { message: 'called off' },
    'a call after the abort is refused, too',
  )
  end('a')
  t.equal(await first, 'a')
  await nextTurn()
  t.same(begun, ['a', 'c'])
  end('c')
  t.equal(await last, 'c')
})

t.test('it is idle when no call is running or waiting', async (t) => {
  const { start, end } = createWork()
  const limit = new Limit(1)
  await limit.whenIdle()
  const all = ['a', 'b'].map((name) => limit.run(() => start(name)))
  let isIdle = false
  const idle = limit.whenIdle().then(() => (isIdle = true))
  end('a')
  await nextTurn()
  t.notOk(isIdle, 'the second call has begun')
  end('b')
  await Promise.all([...all, idle])
})

t.test('a call is limited with all its arguments', async (t) => {
  const { begun, start, end } = createWork()
  const call = limitUnderWay(1, (name: string, count: number) => start(`${name}${count}`))
  const answers = [call('a', 1), call('b', 2)]
  t.same(begun, ['a1'])
  end('a1')
  await nextTurn()
  end('b2')
  t.same(await Promise.all(answers), ['a1', 'b2'])
})
