/**
 * Which headers determine the address of a client. The tests measure it by streams, of which each address may hold one.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { startApp, startWebBeside } from '../helpers/app.js'
import { createTask } from '../helpers/watch.js'

const app = await startApp(t)
const task = await createTask(app.address, { delayMs: 3_600_000 })

const startBehind = (t: Test, trustProxy: string) =>
  startWebBeside(t, app, { TRUST_PROXY: trustProxy, MAX_STREAMS_PER_ADDRESS: '1' })

/**
 * Opens a stream for each X-Forwarded-For, from the address of a peer. The streams stay open. @returns how many were
 * accepted
 */
async function openStreams(t: Test, at: string, peer: string, forwarded: readonly string[]): Promise<number> {
  const { hostname, port, host } = new URL(at)
  let accepted = 0
  for (const text of forwarded) {
    const socket = connect({ host: hostname, port: Number(port), localAddress: peer })
    t.teardown(() => socket.destroy())
    socket.write(
      [
        `GET /api/tasks/${task.id}/events HTTP/1.1`,
        `Host: ${host}`,
        'Accept: text/event-stream',
        `X-Forwarded-For: ${text}`,
        '',
        '',
      ].join('\r\n'),
    )
    const [answer] = (await once(socket, 'data')) as [Buffer]
    if (/^HTTP\/1\.1 200/.test(answer.toString())) accepted += 1
  }
  return accepted
}

const PROXY = '127.0.0.2'
const INNER = '127.0.0.3'
const SPOOFED = Array.from({ length: 50 }, (_, index) => `203.0.113.${index}`)

t.test('without a trusted proxy all spoofed addresses count as one client', async (t) => {
  t.equal(await openStreams(t, await startBehind(t, ''), '127.0.0.1', SPOOFED), 1)
})

t.test('an untrusted peer cannot spoof an address, whatever it sends', async (t) => {
  const at = await startBehind(t, PROXY)
  t.equal(await openStreams(t, at, '127.0.0.1', SPOOFED), 1, 'one address')
  t.equal(
    await openStreams(
      t,
      at,
      '127.0.0.4',
      SPOOFED.map((text) => `${text}, ${PROXY}`),
    ),
    1,
    'a spoofed address of the proxy, too',
  )
})

t.test('behind one proxy each client has one address, and its own headers do not count', async (t) => {
  const at = await startBehind(t, PROXY)
  t.equal(await openStreams(t, at, PROXY, SPOOFED), 50, 'fifty clients')
  t.equal(
    await openStreams(
      t,
      at,
      PROXY,
      SPOOFED.map((text) => `${text}, 198.51.100.1`),
    ),
    1,
    'one client that spoofs, as the proxy appends its address',
  )
  t.equal(
    await openStreams(
      t,
      at,
      PROXY,
      SPOOFED.map((text) => `${text}, ${PROXY}, 198.51.100.2`),
    ),
    1,
    'one client that knows the address of the proxy',
  )
})

t.test('behind two proxies the client is the one named by the outer proxy', async (t) => {
  const at = await startBehind(t, `${PROXY}, ${INNER}`)
  t.equal(
    await openStreams(
      t,
      at,
      INNER,
      SPOOFED.map((text) => `${text}, ${PROXY}`),
    ),
    50,
    'fifty clients',
  )
  t.equal(
    await openStreams(
      t,
      at,
      INNER,
      SPOOFED.map((text) => `${text}, 198.51.100.1, ${PROXY}`),
    ),
    1,
    'one client that spoofs',
  )
  t.equal(
    await openStreams(
      t,
      at,
      '127.0.0.4',
      SPOOFED.map((text) => `${text}, ${PROXY}`),
    ),
    1,
    'requests that bypass the proxies count as one client',
  )
})

t.test('networks and names stand for addresses', async (t) => {
  for (const trusted of ['127.0.0.0/8', 'loopback', 'uniquelocal, 127.0.0.2/32', '::ffff:127.0.0.2']) {
    t.equal(await openStreams(t, await startBehind(t, trusted), PROXY, ['203.0.113.1', '203.0.113.2']), 2, trusted)
  }
})
