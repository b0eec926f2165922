/**
 * Requests that arrive before the previous one is answered; waits, which count as streams; and upgrades to other
 * protocols.
 */
import { once } from 'node:events'
import t from 'tap'
import { startApp } from '../helpers/app.js'
import { createEmptyTask } from '../helpers/processes.js'
import { createText, openRaw, requestText, waitUntil } from '../helpers/raw-client.js'
import { watch } from '../helpers/watch.js'

const MAX_STREAMS = 3
const MAX_PIPELINED = 50
const app = await startApp(
  t,
  [],
  { MAX_STREAMS_PER_ADDRESS: String(MAX_STREAMS) },
  { maxPipelined: MAX_PIPELINED, maxPipelinedTotal: 70 },
)

const cancel = (id: string) => fetch(`${app.address}/api/tasks/${id}/cancel`, { method: 'POST' })
const waitText = (id: string, seconds = 60) => requestText(`GET /api/tasks/${id}?wait=${seconds}`)
const titles = async () =>
  ((await (await fetch(`${app.address}/api/tasks`)).json()) as { items: { title: string | null }[] }).items.map(
    ({ title }) => title,
  )
const H2C = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABk' }
const WEBSOCKET = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': 13,
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
}

t.test('pipelined requests are answered in their order, each once', async (t) => {
  const client = await openRaw(t, app.address)
  const creates = Array.from({ length: 20 }, (_, index) => createText({ title: `pipelined ${index}` }))
  client.send(creates.join('') + requestText('GET /api/types') + requestText('GET /none', { connection: 'close' }))
  const said = await client.closed
  t.same(
    [...said.matchAll(/"title":"pipelined (\d+)"/g)].map(([, index]) => Number(index)),
    creates.map((_, index) => index),
  )
  t.same(
    [...said.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status),
    [...creates.map(() => '202'), '200', '404'],
  )
  t.equal((await titles()).filter((title) => title?.startsWith('pipelined')).length, creates.length)
})

t.test('requests behind an upload or a large body are answered after it', async (t) => {
  const client = await openRaw(t, app.address)
  const upload = requestText('POST /api/uploads', { 'content-length': 300_000 })
  client.send(upload + 'x'.repeat(100_000))
  const batch = JSON.stringify({ tasks: Array.from({ length: 1_000 }, () => ({ title: 'of a batch' })) })
  client.send(
    'x'.repeat(200_000) +
      requestText(
        'POST /api/tasks/batch',
        { 'content-type': 'application/json', 'content-length': batch.length },
        batch,
      ),
  )
  client.send(requestText('GET /healthz', { connection: 'close' }))
  t.same(
    [...(await client.closed).matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status),
    ['201', '202', '200'],
  )
})

t.test('requests behind an answer that closes the connection are not executed', async (t) => {
  const client = await openRaw(t, app.address)
  client.send(
    requestText('POST /api/tasks', { 'content-type': 'application/json', 'content-length': 5 }, '{"no"') +
      createText({ title: 'behind a refusal' }),
  )
  t.match(await client.closed, /^HTTP\/1\.1 400 /)
  // Creates are written in order of arrival.
  await createEmptyTask(app.address)
  t.notOk((await titles()).includes('behind a refusal'))
  t.equal(app.counts().pipelined, 0)
})

t.test('the waiting requests of a disconnected client are dropped', async (t) => {
  const id = await createEmptyTask(app.address)
  const client = await openRaw(t, app.address)
  client.send(waitText(id) + createText({ title: 'never begun' }).repeat(10))
  await waitUntil(() => app.counts().pipelined === 10)
  client.socket.resetAndDestroy()
  // No data is read from it, so only the end of the wait reveals the disconnect.
  await cancel(id)
  await waitUntil(() => app.counts().pipelined === 0)
  t.notOk((await titles()).includes('never begun'))
})

t.test(
  'too many waiting requests close their connection, whatever they are, and others are not affected',
  async (t) => {
    const id = await createEmptyTask(app.address)
    const watcher = watch(app.address, `/ws/tasks/${id}`)
    await watcher.until(({ type }) => type === 'snapshot')
    for (const more of [waitText(id), requestText('GET /healthz'), createText({ title: 'one of many' })]) {
      const client = await openRaw(t, app.address)
      client.send(waitText(id))
      await waitUntil(() => app.counts().connections > 1)
      client.send(more.repeat(40_000 / 10))
      t.equal(await client.closed, '')
      await createEmptyTask(app.address)
    }
    t.equal(app.counts().pipelined, 0)
    t.notOk((await titles()).includes('one of many'))
    await cancel(id)
    t.equal((await watcher.closed).code, 1000)
  },
)

t.test('above the limit of waiting requests in the process, the connection with the most is closed', async (t) => {
  const id = await createEmptyTask(app.address)
  const small = await openRaw(t, app.address)
  small.send(waitText(id) + requestText('GET /healthz').repeat(25))
  await waitUntil(() => app.counts().pipelined === 25)
  const large = await openRaw(t, app.address)
  large.send(waitText(id) + requestText('GET /healthz').repeat(MAX_PIPELINED))
  t.equal(await large.closed, '')
  await cancel(id)
  await waitUntil(() => small.said().split('HTTP/1.1 200 ').length === 1 + 26)
})

t.test('long polls count as streams, and are free again when they are over', async (t) => {
  const id = await createEmptyTask(app.address)
  const waits = await Promise.all(Array.from({ length: MAX_STREAMS }, () => openRaw(t, app.address)))
  for (const client of waits) client.send(waitText(id) + waitText(id, 1))
  await waitUntil(() => app.counts().pipelined === MAX_STREAMS)
  const refused = await fetch(`${app.address}/api/tasks/${id}?wait=60`)
  t.match(await refused.json(), { code: 'too_many_streams' })
  t.match(refused.headers.get('retry-after'), /^\d+$/)
  const stream = await fetch(`${app.address}/api/tasks/${id}/events`, { headers: { accept: 'text/event-stream' } })
  t.equal(stream.status, 429, 'they and streams are counted together')
  t.equal((await fetch(`${app.address}/api/tasks/${id}`)).status, 200, 'a read that does not wait is not a stream')
  await cancel(id)
  for (const client of waits) await client.heard(/CANCELLED[^]*CANCELLED/)
  t.equal((await fetch(`${app.address}/api/tasks/${id}?wait=1`)).status, 200)
})

t.test('a create is not refused for its wait: without room for one it is answered at once', async (t) => {
  const id = await createEmptyTask(app.address)
  const streams = Array.from({ length: MAX_STREAMS - 1 }, () =>
    fetch(`${app.address}/api/tasks/${id}/events`, { headers: { accept: 'text/event-stream' } }),
  )
  await Promise.all(streams)
  const create = (title: string) =>
    fetch(`${app.address}/api/tasks`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer: 'wait=60' },
      body: JSON.stringify({ title }),
    })
  const waiting = create('waits')
  await waitUntil(async () => (await titles()).includes('waits'))
  t.equal((await fetch(`${app.address}/api/tasks/${id}?wait=1`)).status, 429, 'the wait of a create counts')
  const answer = await create('at once')
  t.equal(answer.status, 202)
  t.equal(answer.headers.get('preference-applied'), null)
  const [task] = (
    (await (await fetch(`${app.address}/api/tasks`)).json()) as { items: { id: string; title: string }[] }
  ).items.filter(({ title }) => title === 'waits')
  await cancel(task?.id ?? '')
  t.equal((await waiting).status, 200)
  await cancel(id)
})

t.test('downloads and uploads count as streams while they last', async (t) => {
  const { upload } = (await (
    await fetch(`${app.address}/api/uploads`, { method: 'POST', body: 'x'.repeat(20_000_000) })
  ).json()) as { upload: string }
  const readers = await Promise.all(Array.from({ length: MAX_STREAMS - 1 }, () => openRaw(t, app.address)))
  const sender = await openRaw(t, app.address)
  sender.send(requestText('POST /api/uploads', { 'content-length': 10 }, 'half'))
  for (const { socket, send } of readers) {
    socket.once('data', () => socket.pause())
    send(requestText(`GET /api/tasks/${upload}/artifacts/upload`))
  }
  for (const { heard } of readers) await heard(/^HTTP\/1\.1 200 /)
  await waitUntil(() => app.counts().bodies === 1)
  const ask = () => fetch(`${app.address}/api/tasks/${upload}/artifacts/upload`, { headers: { range: 'bytes=0-0' } })
  t.equal((await ask()).status, 429)
  t.equal((await fetch(`${app.address}/api/uploads`, { method: 'POST', body: 'x' })).status, 429)
  for (const { socket } of readers) socket.destroy()
  sender.send('other ')
  await sender.heard(/^HTTP\/1\.1 201 /)
  await waitUntil(async () => (await ask()).status === 206)
})

for (const [protocol, fields, status] of [
  ['h2c', H2C, 200],
  ['WebSocket', WEBSOCKET, 426],
] as const) {
  t.test(
    `an upgrade to ${protocol} behind an unanswered request is ignored, and the request is answered in its turn`,
    async (t) => {
      const id = await createEmptyTask(app.address)
      const client = await openRaw(t, app.address)
      const path = protocol === 'h2c' ? '/healthz' : `/ws/tasks/${id}`
      client.send(waitText(id) + requestText(`GET ${path}`, fields) + requestText('GET /api/types'))
      await waitUntil(() => app.counts().pipelined === 1)
      await cancel(id)
      t.match(
        await client.closed,
        new RegExp(`^HTTP/1\\.1 200 [^]*CANCELLED[^]*HTTP/1\\.1 ${status} [^]*connection: close`, 'i'),
      )
    },
  )
}

t.test('an h2c upgrade behind an unread response damages neither', async (t) => {
  const { upload } = (await (
    await fetch(`${app.address}/api/uploads`, { method: 'POST', body: 'x'.repeat(20_000_000) })
  ).json()) as { upload: string }
  const client = await openRaw(t, app.address)
  let bytes = 0
  client.socket.removeAllListeners('data').on('data', (data: Buffer) => (bytes += data.length))
  client.socket.pause()
  client.send(requestText(`GET /api/tasks/${upload}/artifacts/upload`) + requestText('GET /healthz', H2C))
  await waitUntil(() => app.counts().pipelined === 1)
  client.socket.resume()
  await once(client.socket, 'close')
  t.ok(bytes > 20_000_000 + 400, `${bytes} bytes: the file and both heads`)
})
