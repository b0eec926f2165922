/** Pages of allowed origins (CORS), and this server's own origin as it appears behind proxies. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { startApp, startWebBeside } from '../helpers/app.js'
import { sendRaw } from '../helpers/raw-request.js'

const ORIGIN = 'https://app.example.com'
const app = await startApp(t, [], { ALLOWED_ORIGINS: ORIGIN })
const { address } = app

interface Operation {
  responses: Record<string, { headers?: Record<string, unknown> }>
}
const { paths } = (await (await fetch(`${address}/openapi.json`)).json()) as {
  paths: Record<string, Record<string, Operation>>
}

const listOf = (header: string | null) => (header ?? '').split(',').map((name) => name.trim().toLowerCase())

t.test('a page of an allowed origin can read answers, other pages cannot', async (t) => {
  const ask = (origin: string, init: RequestInit = {}) =>
    fetch(`${address}/api/types`, { ...init, headers: { origin, ...init.headers } })
  t.equal((await ask(ORIGIN)).headers.get('access-control-allow-origin'), ORIGIN)
  t.equal((await ask('https://evil.example.com')).headers.get('access-control-allow-origin'), null)
})

t.test('a preflight allows each method that a route has, and those of REST', async (t) => {
  const calls = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => [path, method.toUpperCase()] as const),
  )
  t.ok(calls.some(([, method]) => method === 'PATCH'))
  const others = ['PUT', 'DELETE', 'PATCH', 'HEAD'].map((method) => ['/api/tasks/x', method] as const)
  for (const [path, method] of [...calls, ...others]) {
    const preflight = await fetch(address + path, {
      method: 'OPTIONS',
      headers: {
        origin: ORIGIN,
        'access-control-request-method': method,
        'access-control-request-headers': 'content-type,idempotency-key,if-match,prefer',
      },
    })
    t.equal(preflight.status, 204, `${method} ${path}`)
    t.equal(preflight.headers.get('access-control-allow-origin'), ORIGIN)
    t.ok(
      listOf(preflight.headers.get('access-control-allow-methods')).includes(method.toLowerCase()),
      `${method} ${path}`,
    )
    t.equal(preflight.headers.get('access-control-allow-headers'), 'content-type,idempotency-key,if-match,prefer')
  }
})

t.test('a page of another origin is allowed nothing by a preflight', async (t) => {
  for (const origin of ['https://evil.test', 'null', 'http://app.example.com']) {
    const preflight = await fetch(`${address}/api/tasks`, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'POST' },
    })
    t.equal(preflight.headers.get('access-control-allow-origin'), null, origin)
  }
})

t.test('every response header of the document can be read by a page of an allowed origin', async (t) => {
  const exposed = listOf(
    (await fetch(`${address}/api/types`, { headers: { origin: ORIGIN } })).headers.get('access-control-expose-headers'),
  )
  const documented = Object.values(paths)
    .flatMap((methods) => Object.values(methods))
    .flatMap(({ responses }) => Object.values(responses))
    .flatMap(({ headers = {} }) => Object.keys(headers))
  for (const name of [
    'Location',
    'ETag',
    'Retry-After',
    'Existing-Task',
    'Idempotent-Replayed',
    'Preference-Applied',
    'Content-Range',
  ])
    t.ok(documented.includes(name), `${name} is documented`)
  for (const name of new Set(documented)) t.ok(exposed.includes(name.toLowerCase()), `${name} is exposed`)
})

t.test('every header that the server sets is documented, or irrelevant to pages', async (t) => {
  const documented = Object.values(paths)
    .flatMap((methods) => Object.values(methods))
    .flatMap(({ responses }) => Object.values(responses))
    .flatMap(({ headers = {} }) => Object.keys(headers))
  const known = new Set([...documented.map((name) => name.toLowerCase()), ...HIDDEN])
  const root = fileURLToPath(new URL('../../src/web', import.meta.url))
  for (const file of readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))) {
    const source = readFileSync(join(root, file), 'utf8')
    const single = [...source.matchAll(/\.(?:header|setHeader)\(\s*'([^']+)'/g)].map((match) => match[1] ?? '')
    const listed = [...source.matchAll(/\.headers\(\{([^]*?)\}\)/g)].flatMap(([, list = '']) =>
      [
        ...list
          .replace(/:\s*(?:'[^']*'|`[^`]*`|"[^"]*")/g, ':')
          .matchAll(/(?<=(?:^|,|\n)\s*)'?([a-z][a-z-]*)'?\s*(?=[:,])/g),
      ].map((match) => match[1] ?? ''),
    )
    for (const name of [...single, ...listed]) t.ok(known.has(name), `${file}: ${name}`)
  }
})

/** For the browser and intermediaries, or readable by every page anyway (CORS-safelisted). */
const HIDDEN = [
  // Sent for a wrong method only: exposed, but part of no call in OpenAPI.
  'allow',
  ...[
    'cache-control',
    'content-type',
    'content-length',
    'content-encoding',
    'content-language',
    'expires',
    'last-modified',
    'pragma',
  ],
  ...[
    'connection',
    'upgrade',
    'sec-websocket-version',
    'vary',
    'x-accel-buffering',
    'content-security-policy',
    'x-content-type-options',
    'cross-origin-resource-policy',
  ],
]

t.test('the answer to a create matches its description', async (t) => {
  const create = () =>
    fetch(`${address}/api/tasks`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': 'a' },
      body: '{}',
    })
  t.ok((await create()).headers.has('location'))
  t.equal((await create()).headers.get('idempotent-replayed'), 'true')
  const unique = () =>
    fetch(`${address}/api/tasks`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"uniqueKey":"u"}',
    })
  await unique()
  t.equal((await unique()).headers.get('existing-task'), 'true')
})

/** Sends a create, as it arrives from a proxy at 127.0.0.2 or from elsewhere. */
const create = (at: string, fields: readonly string[], localAddress: string) =>
  sendRaw(
    at,
    ['POST /api/tasks HTTP/1.1', ...fields, 'Content-Type: application/json', 'Content-Length: 2', 'Connection: close'],
    { body: '{}', localAddress },
  )

t.test("default ports are equal, and a trusted proxy's scheme and name are this server's", async (t) => {
  const at = await startWebBeside(t, app, {
    ALLOWED_HOSTS: 'example.org',
    TRUST_PROXY: '127.0.0.2',
    ALLOWED_ORIGINS: '',
  })
  const forwarded = ['X-Forwarded-Proto: https']
  for (const [host, origin, fields, expected] of [
    ['example.org', 'https://example.org', forwarded, 202],
    ['example.org:443', 'https://example.org', forwarded, 202],
    ['example.org:443', 'https://example.org', [], 202],
    ['example.org', 'https://example.org:443', forwarded, 202],
    ['EXAMPLE.org:443', 'https://example.org', forwarded, 202],
    ['example.org:8443', 'https://example.org:8443', forwarded, 202],
    ['example.org', 'https://example.org', ['X-Forwarded-Proto: http, https'], 202],
    ['example.org', 'http://example.org', [], 202],
    ['example.org:80', 'http://example.org', [], 202],
    ['example.org', 'http://example.org:80', [], 202],
    ['127.0.0.1', 'https://example.org', [...forwarded, 'X-Forwarded-Host: example.org'], 202],
    ['127.0.0.1', 'https://example.org', [...forwarded, 'X-Forwarded-Host: example.org:443'], 202],
    ['[::1]:80', 'http://[0:0:0:0:0:0:0:1]', [], 202],
    ['example.org', 'http://example.org', forwarded, 403],
    ['example.org', 'https://example.org', [], 403],
    ['example.org', 'https://example.org:8443', forwarded, 403],
    ['example.org:8443', 'https://example.org', forwarded, 403],
    ['example.org:443', 'http://example.org', forwarded, 403],
    ['example.org:80', 'https://example.org', [], 403],
    ['example.org', 'https://x.example.org', forwarded, 403],
  ] as const) {
    const { status } = await create(at, [`Host: ${host}`, `Origin: ${origin}`, ...fields], '127.0.0.2')
    t.equal(status, expected, `Host ${host}, Origin ${origin}, ${fields.join('; ')}`)
  }
  const spoofed = await create(at, ['Host: example.org', 'Origin: https://example.org', ...forwarded], '127.0.0.1')
  t.equal(spoofed.status, 403, 'an untrusted proxy cannot choose the scheme')
  t.match(spoofed.body, /TRUST_PROXY/, 'the error names the missing setting')
})
