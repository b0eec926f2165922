/** What pages of other origins can do to the server with the requests that their browser would send: nothing. */
import postgres from 'postgres'
import t from 'tap'
import { startApp, startWebBeside } from '../helpers/app.js'
import { sendRaw } from '../helpers/raw-request.js'
import { createTask } from '../helpers/watch.js'

const app = await startApp(t)
const { address } = app
const { host, port } = new URL(address)
const sql = postgres(app.databaseUrl, { max: 1 })
t.teardown(() => sql.end())

/** Headers by which a browser shows that a page of another site sent the request. */
const FOREIGN: Record<string, string[]> = {
  'another site': ['Origin: http://evil.test'],
  'another site, as Chromium reports it': [
    'Origin: http://evil.test',
    'Sec-Fetch-Site: cross-site',
    'Sec-Fetch-Mode: no-cors',
  ],
  'no origin': ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: no-cors', 'Sec-Fetch-Dest: image'],
  'a form': [
    'Origin: http://evil.test',
    'Sec-Fetch-Site: cross-site',
    'Sec-Fetch-Mode: navigate',
    'Sec-Fetch-Dest: document',
  ],
  'an opaque origin': ['Origin: null'],
  'an empty origin': ['Origin: '],
  'another port': [`Origin: http://127.0.0.1:${Number(port) + 1}`, 'Sec-Fetch-Site: same-site'],
  'the same name without the port': ['Origin: http://127.0.0.1'],
  'another scheme': [`Origin: https://${host}`],
  'another name of this machine': [`Origin: http://localhost:${port}`],
  'a longer name': [`Origin: http://${host}.evil.test`],
  'a user in front': [`Origin: http://${host}@evil.test`],
  'a user who is named like this server': [`Origin: http://evil.test@${host}`],
  'a path': [`Origin: http://${host}/evil`],
  'a list': [`Origin: http://${host}, http://evil.test`],
  'two origins': [`Origin: http://${host}`, 'Origin: http://evil.test'],
  'an extension': ['Origin: chrome-extension://abcdefghijklmnop'],
  'a file': ['Origin: file://'],
  'another scheme of the same name': [`Origin: ws://${host}`],
  'this origin, contradicted by Sec-Fetch-Site': [`Origin: http://${host}`, 'Sec-Fetch-Site: cross-site'],
  'two contradicting fields': [`Origin: http://${host}`, 'Sec-Fetch-Site: same-origin', 'Sec-Fetch-Site: cross-site'],
  'an unknown site': ['Sec-Fetch-Site: elsewhere'],
}

/** Headers of requests from this server's own pages, or from no page. */
const OWN: Record<string, string[]> = {
  'a program': [],
  'a page of this server': [`Origin: http://${host}`, 'Sec-Fetch-Site: same-origin', 'Sec-Fetch-Mode: cors'],
  'a browser without fetch metadata': [`Origin: http://${host}`],
  'an address that a person typed': ['Sec-Fetch-Site: none', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document'],
}

const { paths } = (await (await fetch(`${address}/openapi.json`)).json()) as {
  paths: Record<string, Record<string, unknown>>
}
const task = await createTask(address, { delayMs: 3_600_000 })
const calls = Object.entries(paths).flatMap(([path, methods]) =>
  Object.keys(methods).map((method) => ({
    method: method.toUpperCase(),
    path: path.replace('{id}', task.id).replace('{name}', 'file'),
  })),
)
const unsafe = calls.filter(({ method }) => method !== 'GET')

const send = (method: string, path: string, fields: readonly string[], body = '', at = address) =>
  sendRaw(
    at,
    [
      `${method} ${path} HTTP/1.1`,
      `Host: ${new URL(at).host}`,
      'Connection: close',
      ...fields,
      ...(body === '' ? [] : [`Content-Length: ${body.length}`]),
    ],
    { body },
  )

const countRows = async () =>
  (
    await sql`select (select count(*) from taskwire.tasks) as tasks, (select count(*) from taskwire.artifacts) as artifacts, (select sum(version) from taskwire.tasks) as versions`
  )[0]

t.test('no page of another origin changes anything, over any route and with any kind of body', async (t) => {
  const before = await countRows()
  t.ok(unsafe.length >= 6, 'there are routes that change something')
  const others = ['PUT', 'DELETE', 'PROPFIND', 'POST'].map((method) => ({ method, path: '/no/such/path' }))
  for (const { method, path } of [...unsafe, ...others]) {
    for (const [who, fields] of Object.entries(FOREIGN)) {
      for (const [type, body] of [
        ['text/plain', '{"title":"foreign"}'],
        ['application/json', '{}'],
        ['', ''],
      ] as const) {
        const answer = await send(method, path, [...fields, ...(type === '' ? [] : [`Content-Type: ${type}`])], body)
        if (answer.status !== 403 || (JSON.parse(answer.body) as { code: string }).code !== 'origin_not_allowed')
          t.equal(answer.status, 403, `${method} ${path} by ${who}, ${type}`)
      }
    }
  }
  t.strictSame(await countRows(), before, 'tasks, uploads and versions are as they were')
})

t.test('pages of this server and programs use every route', async (t) => {
  for (const { method, path } of calls) {
    for (const [who, fields] of Object.entries(OWN)) {
      if (path.endsWith('/events') || (method !== 'GET' && who === 'an address that a person typed')) continue
      const { status } = await send(
        method,
        path,
        [...fields, 'Content-Type: application/json'],
        method === 'GET' ? '' : '{}',
      )
      t.notOk([403, 421].includes(status) && !path.startsWith('/files/'), `${method} ${path} by ${who}: ${status}`)
    }
  }
})

t.test('no page of another origin opens a stream or waits', async (t) => {
  for (const [who, fields] of Object.entries(FOREIGN)) {
    for (const path of [`/api/tasks/${task.id}/events`, '/api/tasks/events', `/%61pi/tasks/${task.id}/events`]) {
      if (who === 'a form') continue
      t.equal((await send('GET', path, [...fields, 'Accept: text/event-stream'])).status, 403, `${path} by ${who}`)
    }
    if (who !== 'a form')
      t.equal((await send('GET', `/api/tasks/${task.id}?wait=60`, fields)).status, 403, `a wait by ${who}`)
    for (const path of [`/ws/tasks/${task.id}`, '/ws/tasks', '/ws/nothing']) {
      const upgrade = [
        `GET ${path} HTTP/1.1`,
        `Host: ${host}`,
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==',
        'Sec-WebSocket-Version: 13',
      ]
      t.equal((await sendRaw(address, [...upgrade, ...fields])).status, 403, `${path} by ${who}`)
    }
  }
})

t.test('a socket request at an address without one is answered, and its connection closed', async (t) => {
  const upgrade = [
    `Host: ${host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==',
    'Sec-WebSocket-Version: 13',
  ]
  for (const path of ['/ws/nothing', '/ws/', '/ws/tasks/x'])
    t.match((await sendRaw(address, [`GET ${path} HTTP/1.1`, ...upgrade])).body, /"status":40[04]/, path)
})

t.test('a link on another page still leads to the page, to a task and to a signed file', async (t) => {
  const link = ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document']
  for (const path of ['/', `/api/tasks/${task.id}`, '/docs/', '/healthz'])
    t.equal((await send('GET', path, link)).status, 200, path)
  const image = ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: no-cors', 'Sec-Fetch-Dest: image']
  t.match(
    (await send('GET', `/files/${task.id}/x?expires=1&signature=${'x'.repeat(43)}`, image)).body,
    /link_refused/,
    'the signature decides',
  )
  t.equal(
    (
      await send('GET', `/api/tasks/${task.id}`, [
        'Sec-Fetch-Site: cross-site',
        'Sec-Fetch-Mode: navigate',
        'Sec-Fetch-Dest: iframe',
      ])
    ).status,
    403,
    'but no frame',
  )
})

t.test('pages of ALLOWED_ORIGINS can do everything, whatever Sec-Fetch-Site says', async (t) => {
  const at = await startWebBeside(t, app, { ALLOWED_ORIGINS: 'https://app.example.com' })
  const page = ['Origin: https://app.example.com', 'Sec-Fetch-Site: cross-site', 'Content-Type: application/json']
  t.equal((await send('POST', '/api/tasks', page, '{}', at)).status, 202)
  for (const origin of [
    'https://app.example.com.evil.test',
    'http://app.example.com',
    'https://app.example.com:444',
    'null',
  ]) {
    t.equal(
      (await send('POST', '/api/tasks', [`Origin: ${origin}`, 'Content-Type: application/json'], '{}', at)).status,
      403,
      origin,
    )
  }
})
