/**
 * Two tenants over HTTP and WebSockets, with a worker: a client who knows the id of a task of another tenant is told
 * that it does not exist.
 */
import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { WebSocket } from 'ws'
import { serviceOf } from '../../src/access/principal.js'
import type { Task } from '../../src/protocol/task.js'
import { startApp } from '../helpers/app.js'
import type { TestScope } from '../helpers/services.js'

const UNKNOWN = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e11'
/** A header names the tenant. The one hook of the application reads it after a look-up that takes a while. */
const app = await startApp(t, ['worker', 'relay'], {}, {}, async (request) => {
  await setImmediate()
  return serviceOf(String(request.headers['x-tenant'] ?? 'nobody'), 'test')
})

function ask(
  tenant: string,
  path: string,
  { method = 'GET', body, headers = {} }: { method?: string; body?: unknown; headers?: Record<string, string> } = {},
): Promise<Response> {
  const content = body === undefined ? {} : { body: JSON.stringify(body) }
  return fetch(app.address + path, {
    method,
    ...content,
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), 'x-tenant': tenant, ...headers },
  })
}

async function create(tenant: string, body: object, headers: Record<string, string> = {}): Promise<Task> {
  const answer = await ask(tenant, '/api/tasks', { method: 'POST', body, headers })
  t.equal(answer.status, 202)
  return (await answer.json()) as Task
}

const LATER = { runAt: '2999-01-01T00:00:00.000Z' }

/** A socket of a tenant, and its messages. */
function open(t: TestScope, tenant: string, path: string) {
  const socket = new WebSocket(app.address.replace(/^http/, 'ws') + path, { headers: { 'x-tenant': tenant } })
  const messages: Record<string, unknown>[] = []
  const waiting = new Set<() => void>()
  socket.on('message', (data: Buffer) => {
    messages.push(JSON.parse(data.toString()) as (typeof messages)[number])
    for (const look of waiting) look()
  })
  socket.on('error', () => {})
  t.teardown(() => socket.terminate())
  const until = (holds: (message: (typeof messages)[number]) => boolean) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (messages.some(holds)) resolve()
      }
      waiting.add(look)
      look()
    })
  return { socket, messages, until, send: (request: object) => socket.send(JSON.stringify(request)) }
}

t.test('every request about a task of another tenant is answered as if the task did not exist', async (t) => {
  const { id } = await create('bert', { type: 'demo.sleep', ...LATER })
  const watching = open(t, 'bert', `/ws/tasks/${id}`)
  await watching.until(({ type }) => type === 'snapshot')
  const calls: [string, Parameters<typeof ask>[2]?][] = [
    [''],
    ['?wait=1'],
    ['/events'],
    ['/events?since=0', { headers: { accept: 'text/event-stream' } }],
    ['/events', { headers: { accept: 'text/plain' } }],
    ['/attempts'],
    ['/logs'],
    ['/artifacts'],
    ['/artifacts/a.txt'],
    ['/artifacts/a.txt/links', { method: 'POST' }],
    ['/cancel', { method: 'POST' }],
    ['', { method: 'PATCH', body: { title: 'mine' } }],
  ]
  for (const [path, options] of calls) {
    const [foreign, unknown] = await Promise.all(
      [id, UNKNOWN].map(async (one) => {
        const answer = await ask('anna', `/api/tasks/${one}${path}`, options)
        return {
          status: answer.status,
          text: (await answer.text()).replaceAll(one, 'ID').replace(/"requestId":"[^"]*"/, ''),
        }
      }),
    )
    t.equal(foreign?.status, 404, `${options?.method ?? 'GET'} ${path}`)
    t.same(foreign, unknown)
  }
  const task = (await (await ask('bert', `/api/tasks/${id}`)).json()) as Task
  t.match(task, { status: 'SCHEDULED', version: 1 }, 'the task is unchanged')
})

t.test('lists, histories and streams of a selection hold the tasks of their own tenant only', async (t) => {
  const mine = await create('carl', { type: 'demo.sleep', tags: ['shared'], ...LATER })
  const theirs = await create('dora', { type: 'demo.sleep', tags: ['shared'], ...LATER })
  const { items } = (await (await ask('carl', '/api/tasks?tag=shared')).json()) as { items: Task[] }
  t.same(
    items.map(({ id }) => id),
    [mine.id],
  )
  const { items: history } = (await (await ask('carl', `/api/tasks/events?ids=${mine.id},${theirs.id}`)).json()) as {
    items: { taskId: string }[]
  }
  t.same(
    history.map(({ taskId }) => taskId),
    [mine.id],
  )
  const stream = await ask('carl', `/api/tasks/events?ids=${theirs.id}`, { headers: { accept: 'text/event-stream' } })
  t.notMatch(await stream.text(), /demo\.sleep|SCHEDULED/, 'the stream ends at once, without data of the task')
})

t.test('a watcher is never served a frame of a task of another tenant, though it knows the id', async (t) => {
  const theirs = await create('bert', {
    type: 'demo.sleep',
    payload: { steps: 1, stepMs: 1 },
    runAt: new Date(Date.now() + 3_000).toISOString(),
  })
  const owner = open(t, 'bert', `/ws/tasks/${theirs.id}`)
  await owner.until(({ type }) => type === 'snapshot')
  const refused = open(t, 'anna', `/ws/tasks/${theirs.id}`)
  const [, answer] = (await once(refused.socket, 'unexpected-response')) as [unknown, { statusCode: number }]
  t.equal(answer.statusCode, 404)

  const many = open(t, 'anna', '/ws/tasks')
  await once(many.socket, 'open')
  many.send({ type: 'subscribe', id: 'ids', selection: { ids: [theirs.id] } })
  many.send({ type: 'subscribe', id: 'type', selection: { type: 'demo.sleep' } })
  many.send({ type: 'subscribe', id: 'list', list: { filter: { type: 'demo.sleep' }, limit: 10 } })
  await many.until(({ id }) => id === 'ids')
  await many.until(({ type }) => type === 'list')
  await many.until(({ id }) => id === 'type')
  await owner.until(({ status }) => status === 'COMPLETED')
  // The arrival of its own task proves that earlier messages have arrived, too.
  const mine = await create('anna', { type: 'demo.sleep', payload: { steps: 0 } })
  await many.until(({ taskId, status }) => taskId === mine.id && status === 'COMPLETED')
  await many.until((message) => JSON.stringify(message['upsert'] ?? []).includes(mine.id))
  t.match(
    many.messages.find(({ id }) => id === 'ids'),
    { type: 'subscribed', tasks: 0, missing: [theirs.id] },
  )
  t.same(
    many.messages.filter((message) => message['id'] !== 'ids' && JSON.stringify(message).includes(theirs.id)),
    [],
  )
  t.same(
    owner.messages.filter((message) => 'tenant' in message || JSON.stringify(message).includes(mine.id)),
    [],
  )
})

t.test('an idempotency key and a unique key belong to the tenant', async (t) => {
  const headers = { 'idempotency-key': '"the same"' }
  const [mine, theirs] = [
    await create('anna', { title: 'a', ...LATER }, headers),
    await create('bert', { title: 'b', ...LATER }, headers),
  ]
  t.not(mine.id, theirs.id)
  t.equal((await create('anna', { title: 'a', ...LATER }, headers)).id, mine.id)
  const unique = { type: 'demo.sleep', uniqueKey: 'one', ...LATER }
  const first = await create('anna', unique)
  t.not((await create('bert', unique)).id, first.id)
  const again = await ask('anna', '/api/tasks', { method: 'POST', body: unique })
  t.match([again.status, await again.json()], [200, { id: first.id }])
  const batch = { body: { tasks: [unique] }, method: 'POST', headers }
  t.equal((await ask('carl', '/api/tasks/batch', batch)).status, 202, 'the key of a batch belongs to the tenant, too')
})

t.test('a file belongs to its tenant, and a signed link works for every bearer', async (t) => {
  const sent = await fetch(`${app.address}/api/uploads?name=a.txt`, {
    method: 'POST',
    body: 'hello',
    headers: { 'content-type': 'text/plain', 'x-tenant': 'bert' },
  })
  const { upload } = (await sent.json()) as { upload: string }
  const path = `/api/tasks/${upload}/artifacts/a.txt`
  t.equal((await ask('anna', path)).status, 404)
  t.equal((await ask('anna', `${path}/links`, { method: 'POST' })).status, 404)
  t.equal(await (await ask('bert', path)).text(), 'hello')
  const { url } = (await (await ask('bert', `${path}/links`, { method: 'POST' })).json()) as { url: string }
  t.equal(await (await ask('anna', url)).text(), 'hello')
})
