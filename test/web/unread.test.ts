/** Clients that do not read their responses, too many connections, and bodies that fill the memory. */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { WebSocket } from 'ws'
import { startApp } from '../helpers/app.js'
import { createEmptyTask } from '../helpers/processes.js'
import { openRaw, requestText, waitUntil, type RawClient } from '../helpers/raw-client.js'
import { watch } from '../helpers/watch.js'

const UNREAD_MS = 2_000
const MAX_BODY_BYTES = 1_000_000
const MAX_CONNECTIONS = 30
/** More than a kernel buffers for a client that reads nothing. */
const LARGE_BYTES = 24_000_000
const app = await startApp(
  t,
  [],
  {},
  { unreadMs: UNREAD_MS, sweepMs: 20, maxBodyMemoryBytes: MAX_BODY_BYTES, maxConnections: MAX_CONNECTIONS },
)

const JSON_FIELDS = { 'content-type': 'application/json' }

async function createFat(title: string): Promise<string> {
  const body = JSON.stringify({
    title,
    type: 'email.send',
    payload: { to: ['a@example.com'], subject: 'fat', text: 'x'.repeat(199_000) },
    tags: ['fat'],
  })
  const answer = await fetch(`${app.address}/api/tasks`, { method: 'POST', headers: JSON_FIELDS, body })
  if (answer.status !== 202) throw new Error(await answer.text())
  return ((await answer.json()) as { id: string }).id
}

async function upload(): Promise<string> {
  const answer = await fetch(`${app.address}/api/uploads`, { method: 'POST', body: 'x'.repeat(LARGE_BYTES) })
  return `/api/tasks/${((await answer.json()) as { upload: string }).upload}/artifacts/upload`
}

/** Sends the text, and reads nothing from then on. */
async function openUnread(t: { teardown(action: () => unknown): unknown }, text: string): Promise<RawClient> {
  const client = await openRaw(t, app.address)
  client.socket.pause()
  client.send(text)
  return client
}

const fat: string[] = []
for (let count = 0; count < 80; count += 1) fat.push(await createFat(`fat ${count}`))
const file = await upload()
const isAlone = () => waitUntil(() => app.counts().unreadBytes === 0)

const ANSWERS: [string, string][] = [
  ['plain answers, one after another', fat.map((id) => requestText(`GET /api/tasks/${id}`)).join('')],
  ['a file', requestText(`GET ${file}`)],
  ['server-sent events', requestText(`GET /api/tasks/events?ids=${fat.join()}`, { accept: 'text/event-stream' })],
]

for (const [name, text] of ANSWERS) {
  t.test(`a client that reads nothing of ${name} is closed, and others are not affected`, async (t) => {
    const id = await createEmptyTask(app.address)
    const watcher = watch(app.address, `/ws/tasks/${id}`)
    await watcher.until(({ type }) => type === 'snapshot')
    await openUnread(t, text)
    await waitUntil(() => app.counts().unreadBytes > 0)
    t.ok(
      app.counts().unreadBytes < 1_000_000,
      `${app.counts().unreadBytes} bytes: one answer, or a part of it, is held`,
    )
    await isAlone()
    await waitUntil(() => app.counts().connections <= 3)
    await fetch(`${app.address}/api/tasks/${id}/cancel`, { method: 'POST' })
    t.equal((await watcher.closed).code, 1000)
    t.match(app.counts(), { pipelined: 0, bodies: 0 })
  })
}

t.test('a WebSocket that reads nothing is closed', async (t) => {
  const socket = new WebSocket(`${app.address.replace('http', 'ws')}/ws/tasks`)
  socket.on('error', () => {})
  await once(socket, 'open')
  socket.pause()
  socket.send(JSON.stringify({ type: 'subscribe', id: 'all', selection: { ids: fat } }))
  await waitUntil(() => app.counts().unreadBytes > 0)
  await isAlone()
  socket.resume()
  t.equal((await once(socket, 'close'))[0], 1006, 'the close code tells the client to reconnect')
})

t.test('a client that reads slowly receives its whole answer', async (t) => {
  const client = await openRaw(t, app.address)
  client.socket.removeAllListeners('data')
  client.send(requestText(`GET ${file}`, { connection: 'close' }))
  let bytes = 0
  for await (const chunk of client.socket as AsyncIterable<Buffer>) {
    bytes += chunk.length
    await sleep(10)
  }
  t.ok(bytes > LARGE_BYTES, `${bytes} bytes`)
})

t.test('above the connection limit the longest idle connections are closed, and no active one', async (t) => {
  const id = await createEmptyTask(app.address)
  const watcher = watch(app.address, `/ws/tasks/${id}`)
  await watcher.until(({ type }) => type === 'snapshot')
  const wait = fetch(`${app.address}/api/tasks/${id}?wait=60`)
  const halfBody = await openRaw(t, app.address)
  halfBody.send(requestText('POST /api/tasks', { ...JSON_FIELDS, 'content-length': 100 }, '{'))
  await waitUntil(() => app.counts().bodies === 1)
  const silent = []
  for (let count = 0; count < 2 * MAX_CONNECTIONS; count += 1) silent.push(await openRaw(t, app.address))
  await halfBody.closed
  await silent[0]?.closed
  await waitUntil(() => app.counts().connections <= MAX_CONNECTIONS)
  t.notOk(silent.at(-1)?.socket.destroyed, 'the newest connection stays open')
  await createEmptyTask(app.address)
  await fetch(`${app.address}/api/tasks/${id}/cancel`, { method: 'POST' })
  t.match(await (await wait).json(), { status: 'CANCELLED' })
  t.equal((await watcher.closed).code, 1000)
  for (const { socket } of silent) socket.destroy()
  await waitUntil(() => app.counts().connections < MAX_CONNECTIONS / 2)
})

t.test(
  'half-sent bodies share a bounded memory: those that hold the most for the longest get 503, and creates continue',
  async (t) => {
    const clients = []
    for (let count = 0; count < 20; count += 1) {
      const client = await openRaw(t, app.address)
      client.send(
        requestText(
          'POST /api/tasks/batch',
          { ...JSON_FIELDS, 'content-length': 4_000_000 },
          `{"tasks":[${' '.repeat(200_000)}`,
        ),
      )
      clients.push(client)
      t.ok(app.counts().bodyBytes <= MAX_BODY_BYTES)
    }
    await clients[0]?.heard(/^HTTP\/1\.1 503 [^]*retry-after: \d+[^]*"code":"overloaded"/i)
    await createFat('while the memory is full')
    await createEmptyTask(app.address)
    t.ok(app.counts().bodyBytes <= MAX_BODY_BYTES)
    for (const { socket } of clients) socket.destroy()
    await waitUntil(() => app.counts().bodies === 0)
    t.equal(app.counts().bodyBytes, 0)
  },
)

t.test('a body in one-byte chunks takes the memory of its bytes, and no more', async (t) => {
  const client = await openRaw(t, app.address)
  client.send(
    requestText('POST /api/tasks', { ...JSON_FIELDS, 'transfer-encoding': 'chunked' }, '1\r\n \r\n'.repeat(100_000)),
  )
  await waitUntil(() => app.counts().bodyBytes >= 100_000)
  t.ok(app.counts().bodyBytes <= 2 * 131_072)
  const end = '{"title":"in chunks"}'
  client.send(`${end.length.toString(16)}\r\n${end}\r\n0\r\n\r\n`)
  await client.heard(/^HTTP\/1\.1 202 [^]*in chunks/)
  t.equal(app.counts().bodyBytes, 0)
})
