import t from 'tap'
import { createAddressGuard, AddressRefusedError, type AddressGuard } from '../../src/handlers/address-guard.js'
import { createRedirect, sendGuarded, type GuardedRequest } from '../../src/handlers/guarded-request.js'
import { serve } from './serve.js'

t.test('each redirect is checked like the first url', async (t) => {
  const targets = [
    'http://10.0.0.1/',
    'http://[::1]/',
    'http://0x7f.1/',
    '//127.0.0.1/',
    'http://169.254.169.254/latest/meta-data/',
    'http://8.8.8.8:6379/',
    'http://user:secret@8.8.8.8/',
    'http://localhost/',
    'http://inside.test/',
    'file:///etc/passwd',
  ]
  for (const target of targets) {
    const origin = await serve(t, (_request, response) => response.writeHead(302, { location: target }).end())
    const sent = sendGuarded(get(origin), guardAsIfPublic(origin), new AbortController().signal)
    await t.rejects(sent, AddressRefusedError, target)
  }
})

t.test('a valid redirect is followed, one to a malformed address is an error', async (t) => {
  const origin = await serve(t, (request, response) => {
    if (request.url === '/to') response.end('there')
    else response.writeHead(302, { location: request.url === '/' ? 'to' : 'http://[' }).end()
  })
  const guard = guardAsIfPublic(origin)
  const { signal } = new AbortController()
  t.match(await sendGuarded(get(`${origin}/`), guard, signal), { status: 200, bytes: Buffer.from('there') })
  await t.rejects(sendGuarded(get(`${origin}/bad`), guard, signal), { message: /malformed address/ })
})

t.test('a redirect with an endless body does not delay the next request', async (t) => {
  const origin = await serve(t, (request, response) => {
    if (request.url === '/to') response.end('there')
    else response.writeHead(302, { location: '/to' }).write('and on and on')
  })
  t.match(await sendGuarded(get(origin), guardAsIfPublic(origin), new AbortController().signal), { status: 200 })
})

t.test('a redirect from https to http is refused, the other way is not', async (t) => {
  const from = get('https://example.com/a')
  t.throws(() => createRedirect(from, 302, 'http://example.com/a'), AddressRefusedError)
  t.equal(createRedirect(from, 302, '//example.org/b').url.href, 'https://example.org/b')
  t.equal(createRedirect(get('http://example.com/'), 302, 'https://example.com/').url.href, 'https://example.com/')
})

t.test('another scheme or port is another origin, which receives no secrets', async (t) => {
  const from = { ...get('http://example.com/'), headers: { authorization: 'secret', accept: '*/*' } }
  t.strictSame(createRedirect(from, 302, '/b').headers, from.headers)
  for (const location of [
    'https://example.com/',
    'http://example.com:8080/',
    'http://example.org/',
    'http://example.com./',
  ]) {
    t.strictSame(createRedirect(from, 302, location).headers, { accept: '*/*' }, location)
  }
})

t.test('the deadline survives garbage collection', async (t) => {
  const origin = await serve(t, (_request, response) => {
    const timer = setInterval(() => response.write('.'), 5)
    response.on('close', () => clearInterval(timer))
  })
  const { signal } = new AbortController()
  const pressure = setInterval(() => Array.from({ length: 200_000 }, () => ({})), 5)
  t.teardown(() => clearInterval(pressure))
  const sent = Array.from({ length: 5 }, () =>
    sendGuarded({ ...get(origin), timeoutMs: 300 }, guardAsIfPublic(origin), signal),
  )
  for (const outcome of await Promise.allSettled(sent))
    t.match(outcome, { reason: { message: /took longer than 300 ms/ } })
})

function get(url: string): GuardedRequest {
  return {
    method: 'GET',
    url: new URL(url),
    headers: {},
    body: null,
    timeoutMs: 5000,
    maxBytes: 1024 * 1024,
    isWanted: () => false,
  }
}

/** The real guard, which also lets one origin on loopback pass, as if it were a public server. */
function guardAsIfPublic(origin: string): AddressGuard {
  const guard = createAddressGuard({ allowPrivate: false, resolve: async () => [{ address: '10.0.0.1', family: 4 }] })
  return {
    lookup: guard.lookup,
    checkUrl(url) {
      if (url.origin !== origin || url.username !== '') guard.checkUrl(url)
    },
  }
}
