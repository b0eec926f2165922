/** An idle stream sends heartbeats: over every transport, and only then. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { WebSocket } from 'ws'
import { startApp } from '../helpers/app.js'
import { readFrame } from '../helpers/frame-check.js'
import { readEvents } from '../helpers/sse.js'
import { createTask, watch } from '../helpers/watch.js'

const { address } = await startApp(t, ['worker', 'relay'], { STREAM_HEARTBEAT_SECONDS: '1' })
const HOUR_MS = 3_600_000
const UNKNOWN_ID = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'

async function openSubscriptions(t: { teardown(action: () => void): void }, selection: object) {
  const socket = new WebSocket(`${address.replace('http', 'ws')}/ws/tasks`)
  t.teardown(() => socket.terminate())
  const messages: Record<string, unknown>[] = []
  socket.on('message', (data: Buffer) => messages.push({ ...readFrame(data.toString()) }))
  await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject))
  if (Object.keys(selection).length > 0) socket.send(JSON.stringify({ type: 'subscribe', id: 'x', selection }))
  return async (count: number) => {
    for (;;) {
      const beats = messages.filter(({ type }) => type === 'heartbeat')
      if (beats.length >= count) return beats
      await sleep(20)
    }
  }
}

async function* readLines(answer: Response): AsyncGenerator<string> {
  let text = ''
  for await (const chunk of answer.body ?? []) {
    const lines = (text + new TextDecoder().decode(chunk as Uint8Array)).split('\n')
    text = lines.pop() ?? ''
    yield* lines
  }
}

t.test('a socket sends heartbeats with the last task, status and version', async (t) => {
  const { id } = await createTask(address, { delayMs: HOUR_MS })
  const watcher = watch(address, `/ws/tasks/${id}`)
  const isBeat = ({ type }: { type: string }) => type === 'heartbeat'
  t.same(await watcher.until(isBeat), { type: 'heartbeat', taskId: id, status: 'SCHEDULED', version: 1 })
  const answer = await fetch(`${address}/api/tasks/${id}`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: '{"title":"edited"}',
  })
  t.equal(answer.status, 200)
  t.same(await watcher.until((message) => isBeat(message) && message.version === 2), {
    type: 'heartbeat',
    taskId: id,
    status: 'SCHEDULED',
    version: 2,
  })
  watcher.terminate()
})

t.test('a socket for many tasks sends them, even without a message or a request', async (t) => {
  const { id } = await createTask(address, { delayMs: HOUR_MS })
  const [ofTask, ofNone, unasked] = await Promise.all([
    openSubscriptions(t, { ids: [id] }),
    openSubscriptions(t, { tag: 'nobody-has-this' }),
    openSubscriptions(t, {}),
  ])
  t.same(
    await ofTask(2),
    Array.from({ length: 2 }, () => ({ type: 'heartbeat', taskId: id, status: 'SCHEDULED', version: 1 })),
  )
  t.same((await ofNone(1))[0], { type: 'heartbeat' })
  t.same((await unasked(1))[0], { type: 'heartbeat' })
})

t.test(
  'server-sent events have heartbeats that an EventSource can see, and text lines have readable ones',
  async (t) => {
    const { id } = await createTask(address, { delayMs: HOUR_MS })
    const controller = new AbortController()
    const open = (path: string, accept: string) =>
      fetch(`${address}/api/tasks/${path}`, { headers: { accept }, signal: controller.signal })
    const find = async (path: string) => {
      for await (const event of readEvents(await open(path, 'text/event-stream')))
        if (event.event === 'heartbeat') return event
      return undefined
    }
    const data = JSON.stringify({ type: 'heartbeat', taskId: id, status: 'SCHEDULED', version: 1 })
    t.match(await find(`${id}/events`), { id: '1', data })
    t.match(await find(`events?ids=${id}`), { id: '1', data })
    t.match(await find('events?tag=nobody-has-this'), { id: undefined, data: '{"type":"heartbeat"}' })
    const findLine = async (path: string) => {
      for await (const line of readLines(await open(path, 'text/plain'))) if (line.includes('still here')) return line
      return undefined
    }
    t.match(await findLine(`${id}/events`), /^ {24} {2}v1 {3}SCHEDULED {3}still here$/)
    t.equal(await findLine('events?tag=nobody-has-this'), 'still here')
    controller.abort()
  },
)

t.test('no heartbeat follows the end, and none answers a poll', async (t) => {
  const { id } = await createTask(address, { delayMs: HOUR_MS })
  const polled = await fetch(`${address}/api/tasks/${id}?wait=3&since=1`)
  t.match(await polled.json(), { version: 1 })
  const done = await createTask(address, { payload: { steps: 0 } })
  await fetch(`${address}/api/tasks/${done.id}?wait=20`)
  const { messages } = await watch(address, `/ws/tasks/${done.id}`).closed
  t.same(
    messages.map(({ type }) => type),
    ['snapshot'],
  )
  t.equal(
    (await fetch(`${address}/api/tasks/${UNKNOWN_ID}/events`, { headers: { accept: 'text/event-stream' } })).status,
    404,
  )
})
