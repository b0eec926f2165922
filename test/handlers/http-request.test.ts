import { once } from 'node:events'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { Value } from 'typebox/value'
import type { Resolve } from '../../src/handlers/address-guard.js'
import type { METHODS } from '../../src/handlers/guarded-request.js'
import { createHttpRequest } from '../../src/handlers/http-request.js'
import { runDefinition } from '../../src/testing/run-definition.js'
import { createContext } from './context.js'
import { serve } from './serve.js'

const open = createHttpRequest({ allowPrivate: true })
const closed = createHttpRequest({ allowPrivate: false })

t.test('a GET keeps status, listed headers and body', async (t) => {
  const url = await serve(t, (_request, response) => {
    response.setHeader('content-type', 'application/json')
    response.setHeader('etag', '"1"')
    response.setHeader('set-cookie', 'session=secret')
    response.end('{"hello":"wörld"}')
  })
  const { context, progress } = createContext()
  const result = await open.run({ url: `${url}/greeting?key=1` }, context)
  t.match(result, { status: 200, body: '{"hello":"wörld"}', truncated: false, bytes: 18, url: `${url}/greeting?key=1` })
  t.match(result.headers, { 'content-type': 'application/json', etag: '"1"', date: String })
  t.notOk('set-cookie' in result.headers, 'cookies are not kept')
  t.ok(Value.Check(open.result, result), 'the result fits its schema')
  t.strictSame(
    progress.map(({ message }) => message),
    [`GET ${url}/greeting`, 'answered 200'],
    'the query is not shown',
  )
})

t.test('a POST sends text as it is and anything else as JSON', async (t) => {
  const url = await serve(t, async (request, response) => {
    response.end(
      JSON.stringify({ method: request.method, type: request.headers['content-type'], body: await text(request) }),
    )
  })
  const send = async (body: unknown, headers: Record<string, string> = {}) => {
    const { body: answer } = await open.run({ url, method: 'POST', body, headers }, createContext().context)
    return JSON.parse(answer) as unknown
  }
  t.strictSame(await send('a=1'), { method: 'POST', type: 'text/plain; charset=utf-8', body: 'a=1' })
  t.strictSame(await send({ a: [1] }), { method: 'POST', type: 'application/json', body: '{"a":[1]}' })
  t.strictSame(await send(null), { method: 'POST', type: 'application/json', body: 'null' })
  const form = 'application/x-www-form-urlencoded'
  t.strictSame(await send('a=1', { 'Content-Type': form }), { method: 'POST', type: form, body: 'a=1' })
  t.strictSame(await send(undefined), { method: 'POST', body: '' })
})

t.test('headers are sent, except those that belong to the connection', async (t) => {
  const url = await serve(t, (request, response) => response.end(JSON.stringify(request.headers)))
  const { body } = await open.run({ url, headers: { 'X-Api-Key': 'k' } }, createContext().context)
  t.match(JSON.parse(body), { 'x-api-key': 'k', 'user-agent': 'taskwire', 'accept-encoding': 'identity' })
  const ofConnection = [
    'host',
    'connection',
    'content-length',
    'transfer-encoding',
    'expect',
    'upgrade',
    'http2-settings',
    'keep-alive',
    'te',
    'trailer',
    'trailers',
    'proxy-authorization',
    'proxy-connection',
    'proxy-authenticate',
    'accept-encoding',
  ]
  const spellings = (name: string) => [
    name,
    name.toUpperCase(),
    name.replaceAll(/\b[a-z]/g, (letter) => letter.toUpperCase()),
    name.replaceAll(/[aeiou]/g, (letter) => letter.toUpperCase()),
  ]
  for (const name of ofConnection.flatMap(spellings)) {
    t.match(
      open.checkPayload?.({ url, headers: { accept: '*/*', [name]: 'x' } }),
      [{ pointer: `/headers/${name}`, detail: /cannot be set/ }],
      name,
    )
  }
  for (const name of [
    'hostname',
    'x-host',
    'x-connection',
    'content-type',
    'content-language',
    'via',
    'test',
    'te-st',
    'trailering',
  ]) {
    t.same(open.checkPayload?.({ url, headers: { [name]: 'x' } }), [], name)
  }
  t.match(open.checkPayload?.({ url, headers: { 'X-Key': '1', 'x-key': '2' } }), [
    { pointer: '/headers/x-key', detail: 'is given twice, in different case' },
  ])
})

t.test('a GET or HEAD with a body, and a url that cannot be called, say what to change', async (t) => {
  const url = 'http://a/'
  for (const method of ['GET', 'HEAD', undefined] as const) {
    t.match(open.checkPayload?.({ url, body: null, ...(method && { method }) }), [
      { pointer: '/body', fix: 'Leave body out, or set method to POST.' },
    ])
  }
  t.same(open.checkPayload?.({ url, method: 'DELETE', body: 'x' }), [])
  t.match(open.checkPayload?.({ url: 'http://[/' }), [{ pointer: '/url', detail: 'is malformed' }])
  t.match(open.checkPayload?.({ url: 'http://me:secret@a/' }), [{ pointer: '/url', detail: /user name or password/ }])
  for (const host of ['127.0.0.1', '[::1]', 'localhost', '2130706433', 'a:8080']) {
    t.match(
      closed.checkPayload?.({ url: `http://${host}/` }),
      [{ pointer: '/url', detail: /^is refused: .*HTTP_REQUEST_ALLOW_PRIVATE/ }],
      host,
    )
  }
})

t.test('a body that grows as text is cut to the room that a result has', async (t) => {
  const bodies: Record<string, Buffer> = {
    text: Buffer.alloc(200_000, 'a'),
    quotes: Buffer.alloc(200_000, '"'),
    control: Buffer.alloc(200_000, 1),
    invalid: Buffer.alloc(200_000, 0xff),
    zeros: Buffer.alloc(200_000),
    emoji: Buffer.from('😀'.repeat(50_000)),
    utf16: Buffer.alloc(200_000, '\u0001', 'utf16le'),
  }
  const long = Object.fromEntries(
    ['etag', 'last-modified', 'content-type', 'location', 'date'].map((name) => [name, '"'.repeat(2_000)]),
  )
  const url = await serve(t, (request, response) => {
    const name = request.url?.slice(1) ?? ''
    response
      .writeHead(200, { ...long, ...(name === 'utf16' && { 'content-type': 'text/plain; charset=utf-16le' }) })
      .end(bodies[name])
  })
  const maxBytes = 196_608
  for (const method of ['GET', 'POST'] as const) {
    for (const name of Object.keys(bodies)) {
      const run = await runDefinition(open, { url: `${url}/${name}`, method, maxBytes })
      t.match(run, { status: 'COMPLETED', result: { status: 200, truncated: true } }, `${method} ${name}`)
      if (run.status !== 'COMPLETED') continue
      const size = Buffer.byteLength(JSON.stringify(run.result))
      t.ok(
        size <= 262_144 && (run.result.bytes === maxBytes || size > 262_000),
        `${name}: ${run.result.bytes} bytes are ${size} in the result`,
      )
      if (name === 'text') t.equal(run.result.body.length, maxBytes)
    }
  }
})

t.test('an unexpected status fails, and an expected one is returned', async (t) => {
  const url = await serve(t, (_request, response) => void response.writeHead(404).end('no such page'))
  await t.rejects(open.run({ url: `${url}/a?token=secret` }, createContext().context), {
    message: `GET ${url}/a answered 404, expected 200 to 299. List it in expectStatus to keep such an answer.`,
  })
  await t.rejects(open.run({ url, expectStatus: [200, 204] }, createContext().context), {
    message: /answered 404, expected 200 or 204/,
  })
  t.match(await open.run({ url, expectStatus: [404] }, createContext().context), { status: 404, body: 'no such page' })
})

t.test('any method is sent, and a safe one without an idempotency key', async (t) => {
  const url = await serve(t, async (request, response) => {
    response.setHeader('x-method', request.method ?? '')
    response.end(
      JSON.stringify({ method: request.method, key: request.headers['idempotency-key'], body: await text(request) }),
    )
  })
  const send = async (method: (typeof METHODS)[number], body?: unknown) => {
    const { body: answer } = await open.run(
      { url, method, ...(body !== undefined && { body }) },
      createContext().context,
    )
    return answer === '' ? '' : (JSON.parse(answer) as unknown)
  }
  for (const method of ['PUT', 'PATCH', 'DELETE'] as const)
    t.match(await send(method, { a: 1 }), { method, key: /^".+:request"$/, body: '{"a":1}' })
  t.strictSame(await send('OPTIONS'), { method: 'OPTIONS', body: '' })
  t.strictSame(await send('HEAD'), '')
})

t.test('temporary errors are retried when the server says; refusals are final', async (t) => {
  let answer: { status: number; retryAfter?: string } = { status: 500 }
  const url = await serve(t, (_request, response) => {
    if (answer.retryAfter !== undefined) response.setHeader('retry-after', answer.retryAfter)
    response.writeHead(answer.status).end()
  })
  const run = async (status: number, retryAfter?: string) => {
    answer = { status, ...(retryAfter !== undefined && { retryAfter }) }
    return runDefinition(open, { url })
  }
  t.match(await run(500), { status: 'RETRYING', error: { message: /answered 500, expected 200 to 299/ } })
  t.match(await run(503, '120'), { status: 'RETRYING', retryInMs: 120_000, error: { name: 'RetryLater' } })
  t.match(await run(429, '0'), { status: 'RETRYING', retryInMs: 0 })
  t.match(await run(429, '999999999'), { status: 'RETRYING', retryInMs: 86_400_000 }, 'at most a day')
  const inAMinute = await run(503, new Date(Date.now() + 60_000).toUTCString())
  t.ok(inAMinute.status === 'RETRYING' && inAMinute.retryInMs > 50_000 && inAMinute.retryInMs <= 60_000, 'a date, too')
  const soon = await run(503, 'soon')
  t.ok(soon.status === 'RETRYING' && soon.error.name === 'Error', 'an unreadable Retry-After leaves the usual backoff')
  for (const status of [400, 401, 404, 410])
    t.match(await run(status), { status: 'FAILED', error: { name: 'PermanentFailure' } })
})

t.test('the time-out covers connecting, waiting and reading', async (t) => {
  const silent = await serve(t, () => {})
  const message = { message: /took longer than 100 ms\. Raise timeoutMs/ }
  await t.rejects(open.run({ url: silent, timeoutMs: 100 }, createContext().context), message, 'no answer')

  const slow = await serve(t, (_request, response) => void response.write('begun'))
  await t.rejects(open.run({ url: slow, timeoutMs: 100 }, createContext().context), message, 'a body that does not end')

  const unresolved = createHttpRequest({ allowPrivate: true, resolve: () => new Promise(() => {}) })
  await t.rejects(
    unresolved.run({ url: 'http://slow.test/', timeoutMs: 100 }, createContext().context),
    message,
    'a name',
  )

  const looping = await serve(t, (_request, response) => {
    setTimeout(() => response.writeHead(302, { location: '/' }).end(), 60)
  })
  await t.rejects(
    open.run({ url: looping, timeoutMs: 100 }, createContext().context),
    message,
    'redirects share one time-out',
  )
})

t.test('an abort ends the request at once, with the reason', async (t) => {
  const controller = new AbortController()
  const reason = new Error('the worker stops')
  let hungUp: Promise<unknown> | undefined
  const url = await serve(t, (request) => {
    hungUp = once(request.socket, 'close')
    controller.abort(reason)
  })
  const aborted = await open.run({ url }, createContext({ signal: controller.signal }).context).catch((e: unknown) => e)
  t.equal(aborted, reason)
  await hungUp
  await t.rejects(open.run({ url }, createContext({ signal: controller.signal }).context), reason, 'aborted before')
})

t.test('the body is cut at maxBytes, between characters, and the rest is not read', async (t) => {
  let sentBytes = 0
  const url = await serve(t, (request, response) => {
    const chunk = 'é'.repeat(32 * 1024)
    const send = () => {
      while (!response.destroyed && response.write(chunk)) sentBytes += chunk.length * 2
    }
    response.on('drain', send)
    request.on('close', () => response.destroy())
    send()
  })
  const result = await open.run({ url, maxBytes: 1001 }, createContext().context)
  t.match(result, { bytes: 1001, truncated: true })
  t.equal(result.body, 'é'.repeat(500))
  t.ok(sentBytes < 16 * 1024 * 1024, 'an endless body ends when the connection is closed')

  const exact = await serve(t, (_request, response) => response.end('12345'))
  t.match(await open.run({ url: exact, maxBytes: 5 }, createContext().context), { body: '12345', truncated: false })
  t.match(await open.run({ url: exact, maxBytes: 0 }, createContext().context), { body: '', bytes: 0, truncated: true })
  const unsaid = await open.run({ url }, createContext().context)
  t.match(unsaid, { bytes: 65_536, truncated: true }, 'at 64 KiB by default')
})

t.test('the body is text that can be stored, whatever was sent', async (t) => {
  const bodies: Record<string, [type: string, body: Buffer]> = {
    '/zero': ['application/octet-stream', Buffer.from([0x61, 0, 0xff, 0x62])],
    '/latin1': ['text/plain; charset=ISO-8859-1', Buffer.from('é', 'latin1')],
    '/unknown': ['text/plain; charset=klingon', Buffer.from('é')],
    '/zipped': ['text/plain', gzipSync('x')],
  }
  const url = await serve(t, (request, response) => {
    const [type, body] = bodies[request.url ?? ''] ?? ['', Buffer.alloc(0)]
    response.setHeader('content-type', type)
    if (request.url === '/zipped') response.setHeader('content-encoding', 'gzip')
    response.end(body)
  })
  const get = (path: string) => open.run({ url: url + path }, createContext().context)
  t.equal((await get('/zero')).body, 'a\uFFFD\uFFFDb')
  t.equal((await get('/latin1')).body, 'é')
  t.equal((await get('/unknown')).body, 'é')
  t.match(
    await get('/zipped'),
    { headers: { 'content-encoding': 'gzip' } },
    'a response compressed without request is reported as such',
  )
})

t.test('redirects are followed three times, by the rules for their status', async (t) => {
  const seen: string[] = []
  const url = await serve(t, async (request, response) => {
    seen.push(`${request.method} ${request.url} ${await text(request)}`.trim())
    const [, status, rest] = /^\/(\d+)(.*)/.exec(request.url ?? '') ?? []
    if (status) response.writeHead(Number(status), { location: rest || '/' }).end('moved')
    else response.end(JSON.stringify(request.headers))
  })
  t.match(await open.run({ url: `${url}/301/302/308` }, createContext().context), { status: 200, url: `${url}/` })
  await t.rejects(open.run({ url: `${url}/301/302/303/307` }, createContext().context), {
    message: /redirects more than 3 times/,
  })

  seen.length = 0
  await open.run({ url: `${url}/307`, method: 'POST', body: 'x' }, createContext().context)
  t.strictSame(seen, ['POST /307 x', 'POST / x'])
  for (const status of [301, 302, 303]) {
    seen.length = 0
    const { body } = await open.run({ url: `${url}/${status}`, method: 'POST', body: 'x' }, createContext().context)
    t.strictSame(seen, [`POST /${status} x`, 'GET /'])
    t.notOk('content-type' in (JSON.parse(body) as object))
  }
  const kept = await open.run({ url: `${url}/302`, expectStatus: [302] }, createContext().context)
  t.match(kept, { status: 302, headers: { location: '/' }, body: 'moved' }, 'an expected redirect is not followed')
})

t.test('a redirect to another origin drops secret headers', async (t) => {
  const other = await serve(t, (request, response) => response.end(JSON.stringify(request.headers)))
  const url = await serve(t, (request, response) => {
    const location = request.url === '/same' ? '/there' : other
    if (request.url === '/there') response.end(JSON.stringify(request.headers))
    else response.writeHead(302, { location }).end()
  })
  const headers = { authorization: 'Bearer secret', cookie: 'a=b', 'x-api-key': 'secret', accept: 'text/plain' }
  const away = await open.run({ url, headers }, createContext().context)
  t.equal(away.url, `${other}/`)
  t.notMatch(away.body, /secret|a=b/)
  t.match(JSON.parse(away.body), { accept: 'text/plain' })
  const home = await open.run({ url: `${url}/same`, headers }, createContext().context)
  t.match(JSON.parse(home.body), headers)
})

t.test('an address that is not public is refused before anything is sent', async (t) => {
  let requests = 0
  const url = await serve(t, (_request, response) => {
    requests += 1
    response.end()
  })
  const { port } = new URL(url)
  const refused = { name: 'AddressRefusedError', message: /HTTP_REQUEST_ALLOW_PRIVATE/ }
  for (const host of ['127.0.0.1', '127.1', '0x7f000001', '2130706433', '[::ffff:127.0.0.1]', '[::1]', 'localhost']) {
    await t.rejects(closed.run({ url: `http://${host}/` }, createContext().context), refused, host)
    await t.rejects(
      closed.run({ url: `http://${host}:${port}/` }, createContext().context),
      refused,
      `${host} with a port`,
    )
  }
  t.equal(requests, 0)
})

t.test('a name that resolves to the internal network is refused by the connection', async (t) => {
  const names: Record<string, string> = {
    'plain.test': '127.0.0.1',
    'mapped.test': '::ffff:127.0.0.1',
    'metadata.test': '169.254.169.254',
  }
  const resolve: Resolve = async (hostname) => [
    { address: names[hostname] ?? '', family: hostname === 'mapped.test' ? 6 : 4 },
  ]
  const guarded = createHttpRequest({ allowPrivate: false, resolve })
  for (const name of Object.keys(names)) {
    for (const scheme of ['http', 'https']) {
      await t.rejects(guarded.run({ url: `${scheme}://${name}/` }, createContext().context), {
        name: 'AddressRefusedError',
        message: new RegExp(`^${name} resolves to an address that is not public`),
      })
    }
  }
})

t.test('the connection goes to the address that was checked', async (t) => {
  const url = await serve(t, (request, response) => response.end(request.headers.host))
  const asked: string[] = []
  const resolve: Resolve = async (hostname) => {
    asked.push(hostname)
    return [{ address: '127.0.0.1', family: 4 }]
  }
  const named = url.replace('127.0.0.1', 'name.test')
  const result = await createHttpRequest({ allowPrivate: true, resolve }).run({ url: named }, createContext().context)
  t.equal(result.body, new URL(named).host)
  t.strictSame(asked, ['name.test'], 'the name was resolved once')
})

t.test('network errors have readable messages', async (t) => {
  const url = await serve(t, () => {})
  const refusing = createTcpServer().listen(0, '127.0.0.1')
  await once(refusing, 'listening')
  const { port } = refusing.address() as AddressInfo
  refusing.close()
  await once(refusing, 'close')
  await t.rejects(open.run({ url: `http://127.0.0.1:${port}/x?key=secret` }, createContext().context), {
    message: `GET http://127.0.0.1:${port}/x failed: the connection was refused. Check the port, and that the server is running.`,
  })
  const hangingUp = await serve(t, (request) => request.socket.destroy())
  await t.rejects(open.run({ url: hangingUp }, createContext().context), { message: /closed the connection/ })
  await t.rejects(open.run({ url: url.replace('http:', 'https:') }, createContext().context), {
    message: /^GET https:.* failed: ./,
  })
  const unknown: Resolve = () => Promise.reject(Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' }))
  const nowhere = createHttpRequest({ allowPrivate: false, resolve: unknown })
  await t.rejects(nowhere.run({ url: 'https://nowhere.test/' }, createContext().context), {
    message: /the host name does not exist/,
  })
})

t.test('the schema refuses values out of bounds and fills in defaults', async (t) => {
  const url = 'https://example.com/'
  t.strictSame(Value.Default(open.payload, { url }), { method: 'GET', url, timeoutMs: 10_000, maxBytes: 65_536 })
  const wrong: unknown[] = [
    {},
    { url: 'ftp://example.com/' },
    { url: `https://example.com/${'a'.repeat(2048)}` },
    { url, method: 'TRACE' },
    { url, timeoutMs: 99 },
    { url, timeoutMs: 60_001 },
    { url, maxBytes: 196_609 },
    { url, expectStatus: [] },
    { url, expectStatus: [99] },
    { url, headers: { 'a b': 'c' } },
    { url, headers: { a: 'b\r\nc: d' } },
    { url, other: 1 },
  ]
  for (const payload of wrong) t.notOk(Value.Check(open.payload, payload), JSON.stringify(payload).slice(0, 80))
  t.ok(Value.Check(open.payload, { url, maxBytes: 196_608 }))
  t.ok(
    Value.Check(open.payload, {
      url,
      method: 'POST',
      headers: { Accept: 'text/html' },
      body: { a: 1 },
      expectStatus: [200, 404],
    }),
  )
})
