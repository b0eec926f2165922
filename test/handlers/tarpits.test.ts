/**
 * Receivers that keep a request open in every possible way: the request ends with the time-out, and its connection is
 * closed.
 */
import t from 'tap'
import { createAddressGuard } from '../../src/handlers/address-guard.js'
import { sendGuarded, type GuardedRequest } from '../../src/handlers/guarded-request.js'
import { flood, startFullBacklog, startTarpit, trickle } from '../helpers/tarpits.js'

const guard = createAddressGuard({ allowPrivate: true })
const { signal } = new AbortController()
const LATE = { message: /took longer than 400 ms/ }

const get = (url: string, more: Partial<GuardedRequest> = {}): GuardedRequest => ({
  method: 'GET',
  url: new URL(url),
  headers: {},
  body: null,
  timeoutMs: 400,
  maxBytes: 1_000,
  isWanted: () => false,
  ...more,
})

const OK = 'HTTP/1.1 200 OK\r\n'
const SLOW = {
  'nothing at all': () => {},
  'its status line, a byte at a time': trickle('HTTP/1.1 200 O', 'K'),
  'a header, a byte at a time': trickle(`${OK}x-slow: `, 'a'),
  'headers without end, slowly': trickle(OK, 'x-a: b\r\n'),
  'interim answers without end': trickle('', 'HTTP/1.1 102 Processing\r\n\r\n'),
  'a body, a byte at a time': trickle(`${OK}content-length: 1000\r\n\r\n`, 'a'),
  'chunks, a byte at a time': trickle(`${OK}transfer-encoding: chunked\r\n\r\n`, '1\r\na\r\n'),
  'chunk extensions without end': trickle(`${OK}transfer-encoding: chunked\r\n\r\n1;`, 'a'),
  'a body that stops half-way': (socket: Parameters<ReturnType<typeof trickle>>[0]) =>
    void socket.write(`${OK}content-length: 1000\r\n\r\nabc`),
  'a redirect to itself, slowly': (socket: Parameters<ReturnType<typeof trickle>>[0]) =>
    void setTimeout(
      () => socket.writable && socket.end('HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n'),
      250,
    ),
}

for (const [what, treat] of Object.entries(SLOW)) {
  t.test(`a receiver that says ${what} is left at the time-out`, async (t) => {
    const tarpit = await startTarpit(t, treat)
    await t.rejects(sendGuarded(get(`http://127.0.0.1:${tarpit.port}/`), guard, signal), LATE)
    await tarpit.isEmpty()
  })
}

t.test('endless headers, as fast as they are read, are refused', async (t) => {
  const tarpit = await startTarpit(t, flood(OK, `x-a: ${'b'.repeat(1_000)}\r\n`))
  await t.rejects(sendGuarded(get(`http://127.0.0.1:${tarpit.port}/`, { timeoutMs: 60_000 }), guard, signal), {
    message: /Headers Overflow/i,
  })
  await tarpit.isEmpty()
})

t.test('only the requested part of an endless body is kept', async (t) => {
  const tarpit = await startTarpit(t, flood(`${OK}\r\n`, 'a'.repeat(65_536)))
  const answer = await sendGuarded(get(`http://127.0.0.1:${tarpit.port}/`, { timeoutMs: 60_000 }), guard, signal)
  t.match(answer, { status: 200, truncated: true })
  t.equal(answer.bytes.length, 1_000)
  await tarpit.isEmpty()
})

t.test('a body that is not needed is not awaited', async (t) => {
  const tarpit = await startTarpit(t, trickle(`${OK}content-length: 1000\r\n\r\n`, 'a'))
  t.match(
    await sendGuarded(get(`http://127.0.0.1:${tarpit.port}/`, { timeoutMs: 60_000, maxBytes: 'none' }), guard, signal),
    { status: 200 },
  )
  await tarpit.isEmpty()
})

t.test('an unanswered TLS handshake ends with the time-out', async (t) => {
  const tarpit = await startTarpit(t)
  await t.rejects(sendGuarded(get(`https://127.0.0.1:${tarpit.port}/`), guard, signal), LATE)
  await tarpit.isEmpty()
})

t.test(
  'a connection that is never accepted ends with the time-out',
  { skip: process.platform === 'linux' ? false : 'the backlog depends on the operating system' },
  async (t) => {
    const port = await startFullBacklog(t)
    await t.rejects(sendGuarded(get(`http://127.0.0.1:${port}/`), guard, signal), LATE)
  },
)

t.test('a name server that never answers is not awaited, and concurrent lookups share one query', async (t) => {
  // The time-out itself does not keep the process alive; the tarpit does.
  await startTarpit(t)
  let asked = 0
  const slow = createAddressGuard({ allowPrivate: true, resolve: () => (asked++, new Promise(() => {})) })
  const sent = await Promise.allSettled(
    Array.from({ length: 10 }, () => sendGuarded(get('http://never.test/'), slow, signal)),
  )
  for (const each of sent) t.match(each, { status: 'rejected', reason: LATE })
  t.equal(asked, 1)
})
