/**
 * The host names that the server accepts: what a page on a rebound name can reach, and which requests are still
 * accepted.
 */
import { once } from 'node:events'
import { hostname } from 'node:os'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { startApp, startWebBeside } from '../helpers/app.js'
import { atDepth } from '../helpers/depth.js'
import { sendRaw } from '../helpers/raw-request.js'

const app = await startApp(t)
const { address } = app
const { port } = new URL(address)

const ask = (
  host: string,
  { method = 'GET', path = '/api/types', more = [] as string[], body = '', at = address } = {},
) => sendRaw(at, [`${method} ${path} HTTP/1.1`, `Host: ${host}`, 'Connection: close', ...more], { body })

const SOCKET_FIELDS = ['Upgrade: websocket', 'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==', 'Sec-WebSocket-Version: 13']

async function checkRefused(t: Test, answer: Awaited<ReturnType<typeof sendRaw>>, what: string): Promise<void> {
  t.equal(answer.status, 421, what)
  t.match(answer.head, 'content-type: application/problem+json', what)
  t.match(JSON.parse(answer.body), { code: 'host_not_allowed', status: 421 }, what)
}

t.test('an unknown host name is refused, whatever the request', async (t) => {
  const host = `evil.test:${port}`
  const json = (body: string) => ({ body, more: ['Content-Type: application/json', `Content-Length: ${body.length}`] })
  for (const [method, path, rest] of [
    ['GET', '/api/tasks', {}],
    ['HEAD', '/api/tasks', {}],
    ['POST', '/api/tasks', json('{"title":"rebound"}')],
    ['POST', '/api/uploads', json('{}')],
    ['PATCH', '/api/tasks/x', json('{}')],
    ['DELETE', '/api/tasks/x', {}],
    ['OPTIONS', '/api/tasks', { more: ['Origin: http://evil.test', 'Access-Control-Request-Method: POST'] }],
    ['PROPFIND', '/', {}],
    ['GET', '/', {}],
    ['GET', '/app.js', {}],
    ['GET', '/docs/', {}],
    ['GET', '/docs/static/index.html', {}],
    ['GET', '/openapi.json', {}],
    ['GET', '/healthz', {}],
    ['GET', '/readyz', {}],
    ['GET', '/no/such/path', {}],
    ['GET', '/api/%zz', {}],
    ['GET', `/api/tasks/${'a'.repeat(5_000)}`, {}],
    ['GET', '/ws/tasks', { more: [] }],
  ] as const) {
    const answer = await ask(host, { method, path, ...rest, more: [...('more' in rest ? rest.more : [])] })
    t.equal(answer.status, 421, `${method} ${path}`)
    if (method !== 'HEAD') await checkRefused(t, answer, `${method} ${path}`)
  }
  t.match(
    (await (await fetch(`${address}/api/tasks`)).json()) as object,
    { items: { length: 0 } },
    'nothing was created',
  )
})

t.test('a socket under an unknown name is refused, and its connection closed', async (t) => {
  for (const path of ['/ws/tasks', '/ws/tasks/019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10', '/ws/nothing', '/elsewhere']) {
    const lines = [
      `GET ${path} HTTP/1.1`,
      `Host: evil.test:${port}`,
      `Origin: http://evil.test:${port}`,
      `Connection: ${path === '/elsewhere' ? 'close' : 'Upgrade'}`,
    ]
    await checkRefused(t, await sendRaw(address, [...lines, ...SOCKET_FIELDS]), path)
  }
})

t.test('each place where a request can name a host is checked', async (t) => {
  const own = `127.0.0.1:${port}`
  for (const [what, lines] of Object.entries({
    'an absolute target': [`GET http://evil.test/api/types HTTP/1.1`, `Host: ${own}`],
    'an absolute target with a user': [`GET http://localhost@evil.test/api/types HTTP/1.1`, `Host: ${own}`],
    'an absolute target in upper case': [`GET HTTP://EVIL.TEST/api/types HTTP/1.1`, `Host: ${own}`],
    'the host of an own target': [`GET http://${own}/api/types HTTP/1.1`, 'Host: evil.test'],
    'a second host': ['GET /api/types HTTP/1.1', `Host: ${own}`, 'host: evil.test'],
    'a first host': ['GET /api/types HTTP/1.1', 'HOST: evil.test', `Host: ${own}`],
    'the same host twice': ['GET /api/types HTTP/1.1', `Host: ${own}`, `Host: ${own}`],
    'no host': ['GET /api/types HTTP/1.1'],
    'no host in HTTP/1.0': ['GET /api/types HTTP/1.0'],
    'a foreign host in HTTP/1.0': ['GET /api/types HTTP/1.0', 'Host: evil.test'],
  })) {
    await checkRefused(t, await sendRaw(address, [...lines, 'Connection: close']), what)
  }
  t.equal(
    (await sendRaw(address, [`GET http://localhost:${port}/api/types HTTP/1.1`, `Host: ${own}`, 'Connection: close']))
      .status,
    200,
  )
  t.equal((await sendRaw(address, ['GET /api/types HTTP/1.0', 'Host: localhost'])).status, 200)
})

t.test('loopback names and IP addresses are known, however they are written', async (t) => {
  for (const host of [
    'localhost',
    'LOCALHOST',
    'LocalHost.',
    `localhost:${port}`,
    `localhost.:${port}`,
    'localhost:',
    '127.0.0.1',
    `127.0.0.1:${port}`,
    '[::1]',
    `[::1]:${port}`,
    '[::FFFF:127.0.0.1]',
    '192.168.1.20:3000',
    '0.0.0.0',
    'ip6-localhost',
  ]) {
    t.equal((await ask(host)).status, 200, host)
  }
})

t.test('a name that only looks like a known one is refused', async (t) => {
  for (const host of [
    'localhost.evil.test',
    'evil.test.localhost.evil',
    'localhost.localhost',
    'xlocalhost',
    'localhost..',
    '.localhost',
    '.',
    '',
    'localhost@evil.test',
    'evil.test@localhost',
    'localhost, evil.test',
    'localhost evil.test',
    'localhost/evil',
    'localhost#',
    'localhost?',
    'localhost\\evil',
    'localhost:x',
    'localhost:65536',
    'localhost:999999',
    'localhost:-1',
    'localhost:80:80',
    '127.0.0.1.evil.test',
    '127.0.0.1.nip.io',
    '127.1',
    '0x7f.0.0.1',
    '2130706433',
    '017700000001',
    '127.0.0.256',
    '::1',
    '[::1',
    '::1]',
    '[::1]x',
    '[]',
    '[evil.test]',
    '[fe80::1%25lo]',
    '[::1]:99999',
    '%6cocalhost',
    'locälhost',
    hostname().toLowerCase() === 'localhost' ? 'x' : hostname(),
  ]) {
    t.equal((await ask(host)).status, 421, JSON.stringify(host))
  }
})

t.test('no name that a page can have is known', { timeout: 60_000 }, async (t) => {
  const label = fc.stringMatching(/^[a-z0-9_-]{1,12}$/)
  const domain = fc
    .tuple(fc.array(label, { minLength: 1, maxLength: 4 }), fc.constantFrom('', '.', ':80', `:${port}`))
    .map(([labels, end]) => labels.join('.') + end)
  const mixed = fc
    .tuple(fc.constantFrom('localhost', '127.0.0.1', '[::1]'), fc.constantFrom('.', '-', '@', ',', '%', '..'), domain)
    .map((parts) => parts.join(''))
  const known = /^(localhost|localhost\.localdomain|ip6-localhost|ip6-loopback|(\d{1,3}\.){3}\d{1,3})\.?(:\d*)?$/
  const answered: string[] = []
  for (const host of fc.sample(
    fc.oneof(domain, mixed).filter((host) => !known.test(host)),
    atDepth(100, 2_000),
  )) {
    const { status } = await ask(host)
    if (status !== 421) answered.push(`${host}: ${status}`)
  }
  t.same(answered, [])
})

t.test('the answer and the log say which setting to change', async (t) => {
  const { body } = await ask('tasks.example.com:8443')
  t.match(JSON.parse(body), {
    detail: /tasks\.example\.com.*ALLOWED_HOSTS=tasks\.example\.com/,
    fix: /ALLOWED_HOSTS/,
    title: /name/,
  })
})

t.test('names in ALLOWED_HOSTS are known, with any port, and no others', async (t) => {
  const at = await startWebBeside(t, app, { ALLOWED_HOSTS: 'Tasks.Example.com, bücher.example., web_1' })
  for (const host of [
    'tasks.example.com',
    'TASKS.example.com.:8443',
    'xn--bcher-kva.example',
    'web_1:3000',
    'localhost',
    '127.0.0.1',
  ])
    t.equal((await ask(host, { at })).status, 200, host)
  for (const host of ['example.com', 'x.tasks.example.com', 'tasks.example.com.evil.test', 'web_2'])
    t.equal((await ask(host, { at })).status, 421, host)
})

t.test('with * any name is known, because a proxy in front checks it', async (t) => {
  const at = await startWebBeside(t, app, { ALLOWED_HOSTS: '*' })
  t.equal((await ask('anything.example', { at })).status, 200)
})

t.test('a server that listens beyond loopback answers to the name of its machine, and still to no other', async (t) => {
  const at = (await startWebBeside(t, app, { HOST: '0.0.0.0' })).replace('0.0.0.0', '127.0.0.1')
  for (const host of [hostname(), '10.1.2.3:3000', 'localhost']) t.equal((await ask(host, { at })).status, 200, host)
  t.equal((await ask('evil.test', { at })).status, 421)
})

t.test('X-Forwarded-Host counts only from a trusted proxy, and never replaces Host', async (t) => {
  const at = await startWebBeside(t, app, { ALLOWED_HOSTS: 'tasks.example.com', TRUST_PROXY: '127.0.0.2' })
  const send = (host: string, forwarded: string, localAddress: string) =>
    sendRaw(at, ['GET /api/types HTTP/1.1', `Host: ${host}`, `X-Forwarded-Host: ${forwarded}`, 'Connection: close'], {
      localAddress,
    })
  t.equal((await send('127.0.0.1', 'tasks.example.com', '127.0.0.2')).status, 200)
  t.equal((await send('127.0.0.1', 'evil.test', '127.0.0.2')).status, 421, 'a proxy that accepts any name')
  t.equal(
    (await send('evil.test', 'tasks.example.com', '127.0.0.2')).status,
    421,
    'a page beside the proxy that sends the field',
  )
  t.equal(
    (await send('127.0.0.1', 'evil.test', '127.0.0.1')).status,
    200,
    'the field from an untrusted peer is ignored',
  )
  t.equal((await send('evil.test', 'tasks.example.com', '127.0.0.1')).status, 421)
})

t.test('a page under an allowed name opens a socket', async (t) => {
  const socket = new WebSocket(`${address.replace('http', 'ws')}/ws/tasks`, {
    headers: { host: `localhost:${port}`, origin: `http://localhost:${port}` },
  })
  await once(socket, 'open')
  socket.send(JSON.stringify({ type: 'ping', id: 'mine' }))
  const [answer] = (await once(socket, 'message')) as [Buffer]
  t.match(JSON.parse(answer.toString()), { id: 'mine' })
  socket.close()
  await once(socket, 'close')
})
