import { once } from 'node:events'
import { createServer, connect } from 'node:net'
import t from 'tap'
import { settlesWithin, withDeadline } from '../../src/timing/deadline.js'

const never = new Promise<never>(() => {})

t.test('work that settles in time passes on its result or error', async (t) => {
  t.equal(await withDeadline(Promise.resolve(1), 1_000, 'too late'), 1)
  await t.rejects(withDeadline(Promise.reject(new Error('broken')), 1_000, 'too late'), { message: 'broken' })
})

t.test('work that is late is abandoned, and its later failure is harmless', async (t) => {
  let fail: (error: Error) => void = () => {}
  const work = new Promise<void>((_, reject) => (fail = reject))
  await t.rejects(withDeadline(work, 20, 'too late'), { message: 'too late' })
  fail(new Error('unhandled'))
  await new Promise((resolve) => setImmediate(resolve))
})

t.test('an answer that arrives while this process is busy counts', async (t) => {
  const server = createServer((socket) => socket.end('answer')).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const address = server.address()
  const socket = connect(typeof address === 'object' && address !== null ? address.port : 0, '127.0.0.1')
  await once(socket, 'connect')
  const answer = withDeadline(once(socket, 'data'), 50, 'too late')
  // The server is in this process: it writes first, and then this callback blocks beyond the deadline.
  setImmediate(() => {
    const until = performance.now() + 200
    while (performance.now() < until);
  })
  t.match(String((await answer)[0]), 'answer')
})

t.test('late work rejects with the error that the caller provides', async (t) => {
  class LateError extends Error {}
  await t.rejects(
    withDeadline(never, 20, () => new LateError('later than that')),
    new LateError('later than that'),
  )
})

t.test('settlesWithin reports whether work settles in time, without rejecting', async (t) => {
  t.equal(await settlesWithin(Promise.resolve(), 1_000), true)
  t.equal(await settlesWithin(Promise.reject(new Error('broken')), 1_000), true)
  t.equal(await settlesWithin(never, 20), false)
})
