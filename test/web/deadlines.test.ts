/**
 * Clients that start a request and do not finish it. Each is closed; a watcher and a create at the same time are not
 * affected.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startApp } from '../helpers/app.js'
import { createEmptyTask } from '../helpers/processes.js'
import { createText, openRaw, requestText, waitUntil, type RawClient } from '../helpers/raw-client.js'
import { watch } from '../helpers/watch.js'

const REQUEST_MS = 4_000
const UPLOAD_WINDOW_MS = 4_000
// All tests wait for the same time, so they run concurrently.
t.jobs = 20
const app = await startApp(
  t,
  [],
  {},
  { requestMs: REQUEST_MS, keepAliveMs: 5_000, uploadWindowMs: UPLOAD_WINDOW_MS, minUploadBytes: 2_000, sweepMs: 20 },
)

const JSON_FIELDS = { 'content-type': 'application/json' }
const UPGRADE = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': 13 }
const REQUEST_TIMEOUT = /^HTTP\/1\.1 408 [^]*application\/problem\+json[^]*"code":"request_timeout"/

interface Offender {
  name: string
  begin(client: RawClient): void
  /** The response that the client receives, if any. */
  answer: RegExp
}

const OFFENDERS: Offender[] = [
  { name: 'a client that sends nothing', begin: () => {}, answer: /^$/ },
  {
    name: 'half of a head',
    begin: (client) => client.send('GET /healthz HTTP/1.1\r\nhost: localhost'),
    answer: REQUEST_TIMEOUT,
  },
  {
    name: 'half of a handshake',
    begin: (client) => client.send(requestText('GET /ws/tasks', UPGRADE).slice(0, -2)),
    answer: REQUEST_TIMEOUT,
  },
  { name: 'endless empty lines', begin: (client) => client.trickle('\r\n'), answer: REQUEST_TIMEOUT },
  {
    name: 'a head byte by byte',
    begin: (client) => trickleAfter(client, 'GET /healthz HTTP/1.1\r\n', 'x-field: a value\r\n'),
    answer: REQUEST_TIMEOUT,
  },
  {
    name: 'half of a body',
    begin: (client) => client.send(createText({ title: 'half' }, 1_000)),
    answer: REQUEST_TIMEOUT,
  },
  {
    name: 'no body at all',
    begin: (client) => client.send(requestText('POST /api/tasks', { ...JSON_FIELDS, 'content-length': 10 })),
    answer: REQUEST_TIMEOUT,
  },
  {
    name: 'half of a body in chunks',
    begin: (client) =>
      client.send(
        requestText('POST /api/tasks', { ...JSON_FIELDS, 'transfer-encoding': 'chunked' }, '8\r\n{"title"\r\n'),
      ),
    answer: REQUEST_TIMEOUT,
  },
  {
    name: 'a body byte by byte',
    begin: (client) => trickleAfter(client, createText({}, 100_000).slice(0, -1), ' '),
    answer: REQUEST_TIMEOUT,
  },
  {
    name: 'a body in chunks of a byte',
    begin: (client) =>
      trickleChunks(client, requestText('POST /api/tasks/batch', { ...JSON_FIELDS, 'transfer-encoding': 'chunked' })),
    answer: REQUEST_TIMEOUT,
  },
  {
    name: 'a body after Expect: 100-continue',
    begin: (client) =>
      client.send(requestText('POST /api/tasks', { ...JSON_FIELDS, 'content-length': 10, expect: '100-continue' })),
    answer: /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 408 /,
  },
  {
    name: 'a body that no route reads',
    begin: (client) => trickleAfter(client, requestText('POST /none', { 'content-length': 9_999 }), ' '),
    answer: /^HTTP\/1\.1 404 /,
  },
  {
    name: 'the body of a read',
    begin: (client) => trickleAfter(client, requestText('GET /api/types', { 'content-length': 9_999 }), ' '),
    answer: /^HTTP\/1\.1 200 /,
  },
  {
    name: 'a body of another type',
    begin: (client) =>
      client.send(requestText('POST /api/tasks', { 'content-type': 'text/xml', 'content-length': 99 })),
    answer: /^HTTP\/1\.1 415 /,
  },
  {
    name: 'an upload that stands still',
    begin: (client) => client.send(requestText('POST /api/uploads', { 'content-length': 99_999 }, 'x'.repeat(9_000))),
    answer: REQUEST_TIMEOUT,
  },
  {
    name: 'an upload byte by byte',
    begin: (client) => trickleAfter(client, requestText('POST /api/uploads', { 'content-length': 99_999 }), 'x'),
    answer: REQUEST_TIMEOUT,
  },
  {
    name: 'a second request that stays unfinished',
    begin: (client) => {
      client.send(requestText('GET /healthz'))
      void client.heard(/"ok"|ok/).then(() => client.send('GET /healthz HTT'))
    },
    answer: /^HTTP\/1\.1 200 [^]*HTTP\/1\.1 408 /,
  },
]

function trickleAfter(client: RawClient, head: string, more: string): void {
  client.send(head)
  client.trickle(more)
}

function trickleChunks(client: RawClient, head: string): void {
  client.send(head)
  const timer = setInterval(() => client.send('1\r\n \r\n'), 20)
  client.socket.once('close', () => clearInterval(timer))
}

for (const { name, begin, answer } of OFFENDERS) {
  t.test(`${name}: the connection is closed, and others are not affected`, { buffered: true }, async (t) => {
    const id = await createEmptyTask(app.address)
    const watcher = watch(app.address, `/ws/tasks/${id}`)
    await watcher.until(({ type }) => type === 'snapshot')
    const offender = await openRaw(t, app.address)
    begin(offender)
    await createEmptyTask(app.address)
    t.match(await offender.closed, answer)
    await fetch(`${app.address}/api/tasks/${id}/cancel`, { method: 'POST' })
    t.equal((await watcher.closed).code, 1000, 'the watcher was told of the end')
  })
}

t.test('none of their connections remains', async (t) => {
  t.match(app.counts(), { bodies: 0, bodyBytes: 0, pipelined: 0 })
})

t.test('an idle connection is closed if no request follows', async (t) => {
  const client = await openRaw(t, app.address)
  client.send(requestText('GET /healthz'))
  t.match(await client.closed, /^HTTP\/1\.1 200 [^]*keep-alive: timeout=5/i)
})

t.test('the body of a disconnected client is dropped', async (t) => {
  for (const path of ['/api/tasks', '/api/uploads']) {
    const client = await openRaw(t, app.address)
    client.send(requestText(`POST ${path}`, { ...JSON_FIELDS, 'content-length': 1_000 }, '{"title"'))
    await waitUntil(() => app.counts().bodies === 1)
    client.socket.resetAndDestroy()
    await waitUntil(() => app.counts().bodies === 0)
  }
  t.equal(app.counts().bodyBytes, 0)
})

t.test('an upload may take longer than a request, as long as it keeps its rate', async (t) => {
  const client = await openRaw(t, app.address)
  const parts = 40
  client.send(requestText('POST /api/uploads', { 'content-length': parts * 4_000, connection: 'close' }))
  for (let part = 0; part < parts; part += 1) {
    client.send('x'.repeat(4_000))
    await sleep((2 * REQUEST_MS) / parts)
  }
  t.match(await client.closed, new RegExp(`^HTTP/1\\.1 201 [^]*"bytes":${parts * 4_000}`))
})

t.test('streams, waits and sockets outlive the request time-out', async (t) => {
  const id = await createEmptyTask(app.address)
  const socket = watch(app.address, `/ws/tasks/${id}`)
  const stream = await fetch(`${app.address}/api/tasks/${id}/events`, { headers: { accept: 'text/event-stream' } })
  const wait = fetch(`${app.address}/api/tasks/${id}?wait=30`)
  await socket.until(({ type }) => type === 'snapshot')
  // Longer than the time-out, without any event for them.
  await sleep(2 * REQUEST_MS)
  await fetch(`${app.address}/api/tasks/${id}/cancel`, { method: 'POST' })
  t.match(await (await wait).json(), { status: 'CANCELLED' })
  t.match(await stream.text(), /CANCELLED/)
  t.equal((await socket.closed).code, 1000)
})

t.test('while the server works on a request, requests behind it do not time out', async (t) => {
  const rests = [
    requestText('GET /healthz'),
    createText({ title: 'behind', payload: { text: 'x'.repeat(40_000) }, type: 'example' }),
  ]
  await Promise.all(
    rests.map(async (rest) => {
      const id = await createEmptyTask(app.address)
      const client = await openRaw(t, app.address)
      client.send(requestText(`GET /api/tasks/${id}?wait=60`) + rest.slice(0, 20))
      // Longer than a request head may take.
      await sleep(2 * REQUEST_MS)
      t.equal(client.said(), '')
      client.send(rest.slice(20))
      await fetch(`${app.address}/api/tasks/${id}/cancel`, { method: 'POST' })
      await client.heard(/^HTTP\/1\.1 200 [^]*HTTP\/1\.1 [24]\d\d /)
    }),
  )
})
