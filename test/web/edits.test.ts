/**
 * An edit is an event of the stream like a transition: it has a version, and reaches every watcher, over every
 * transport.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { WebSocket } from 'ws'
import { watchTask, watchTasks } from '../../public/task-stream.js'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { openDatabase } from '../../src/db/open.js'
import type { TransitionList } from '../../src/protocol/http.js'
import type { StreamMessage, TransitionMessage } from '../../src/protocol/stream.js'
import type { Task } from '../../src/protocol/task.js'
import { readTransitionMessages } from '../../src/store/reads/tasks.js'
import { editTaskIfWaiting } from '../../src/store/tasks/edit.js'
import { startApp } from '../helpers/app.js'
import { readFrame } from '../helpers/frame-check.js'
import { readAllEvents, readEvents } from '../helpers/sse.js'
import { createTask, watch, type Watcher } from '../helpers/watch.js'

const { address: baseUrl, databaseUrl } = await startApp(t, ['worker', 'relay'])
const db = openDatabase(databaseUrl, { maxConnections: 1 })
t.teardown(() => db.close())
const HOUR_MS = 3_600_000
const inMs = (ms: number) => new Date(Date.now() + ms).toISOString()

async function edit(
  id: string,
  change: object,
  headers: Record<string, string> = {},
): Promise<{ status: number; task: Task; etag: string | null }> {
  const answer = await fetch(`${baseUrl}/api/tasks/${id}`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(change),
  })
  return { status: answer.status, task: (await answer.json()) as Task, etag: answer.headers.get('etag') }
}

/** Repeats a read that a busy machine answers with 503. */
async function read<Body = Task>(path: string): Promise<Body> {
  for (;;) {
    const answer = await fetch(`${baseUrl}/api/tasks/${path}`)
    if (answer.status !== 503) return (await answer.json()) as Body
    await answer.text()
    await sleep(100)
  }
}

const isEdit = (message: StreamMessage): message is TransitionMessage =>
  message.type === 'transition' && message.edited !== undefined

async function open(id: string, query = ''): Promise<Watcher> {
  const watcher = watch(baseUrl, `/ws/tasks/${id}${query}`)
  await watcher.until(() => true)
  return watcher
}

t.test('each editable field reaches a watcher as the next version, with its value', async (t) => {
  const { id, title } = await createTask(baseUrl, { title: 'before', delayMs: HOUR_MS })
  const watcher = await open(id)
  const changes = [
    { title: 'after' },
    { payload: { steps: 1, stepMs: 300 } },
    { priority: 7 },
    { tags: ['a', 'b'] },
    { runAt: inMs(2 * HOUR_MS) },
    { expiresAt: inMs(9 * HOUR_MS) },
    { expiresAt: null },
    { title: 'both', tags: [] },
  ]
  for (const [index, change] of changes.entries()) {
    const version = index + 2
    const { status, task } = await edit(id, change)
    t.match({ status, task }, { status: 200, task: { version, ...change } })
    const told = await watcher.until((message) => message.version === version)
    const runAt = task.runAt ?? ''
    t.match(told, {
      type: 'transition',
      status: 'SCHEDULED',
      from: 'SCHEDULED',
      taskId: id,
      version,
      attempt: 0,
      runAt,
      edited: Object.keys(change),
      changes: change,
    })
    t.equal((told as TransitionMessage).reason, `edited: ${Object.keys(change).join(', ')}`)
  }
  t.equal(title, 'before')
  watcher.terminate()
})

t.test(
  'an edit is sent over every transport: sockets for one task and for many, events, text lines, long poll, stored list',
  async (t) => {
    const { id } = await createTask(baseUrl, { delayMs: HOUR_MS, tags: ['all-transports'] })
    const subscriptions = new WebSocket(`${baseUrl.replace('http', 'ws')}/ws/tasks`)
    t.teardown(() => subscriptions.terminate())
    const toldOverOneSocket = new Promise<StreamMessage>((resolve, reject) => {
      subscriptions.on('error', reject)
      subscriptions.on('message', (data: Buffer) => {
        const message = readFrame(data.toString())
        if (message.type === 'snapshot') resolveReady()
        if (message.version === 2) resolve(message)
      })
      subscriptions.on('open', () =>
        subscriptions.send(JSON.stringify({ type: 'subscribe', id: 'x', selection: { tag: 'all-transports' } })),
      )
    })
    let resolveReady = () => {}
    const ready = new Promise<void>((resolve) => (resolveReady = resolve))
    const socket = await open(id)
    const controller = new AbortController()
    const stream = async (path: string, accept: string) => {
      const answer = await fetch(`${baseUrl}/api/tasks/${path}`, { headers: { accept }, signal: controller.signal })
      return answer
    }
    const events = readEvents(await stream(`${id}/events`, 'text/event-stream'))
    const eventsOfMany = readEvents(await stream(`events?ids=${id}`, 'text/event-stream'))
    const lines = (await stream(`${id}/events`, 'text/plain')).body?.getReader()
    const poll = read(`${id}?wait=30&since=1`)
    const untilEdit = async (source: typeof events) => {
      for await (const { event, id, data } of source)
        if (event === 'transition') return { id, message: readFrame(data ?? '') }
      return undefined
    }
    const untilText = async () => {
      let text = ''
      while (!text.includes('v2')) text += new TextDecoder().decode((await lines?.read())?.value)
      return text
    }
    await ready

    const runAt = inMs(8 * HOUR_MS)
    await edit(id, { runAt, title: 'moved' })
    const expected = {
      type: 'transition',
      version: 2,
      status: 'SCHEDULED',
      edited: ['title', 'runAt'],
      changes: { runAt, title: 'moved' },
    }
    t.match(await socket.until(isEdit), expected)
    t.match(await toldOverOneSocket, expected)
    t.match(await untilEdit(events), { id: '2', message: expected })
    t.match(await untilEdit(eventsOfMany), { id: '2', message: expected })
    t.match(await untilText(), /v2 +SCHEDULED +edited: title, runAt\n/)
    t.match(await poll, { version: 2, runAt, title: 'moved' })
    const history = [
      { version: 1 },
      {
        version: 2,
        from: 'SCHEDULED',
        status: 'SCHEDULED',
        reason: 'edited: title, runAt',
        edited: ['title', 'runAt'],
      },
    ]
    t.match((await read<TransitionList>(`${id}/events`)).items, history)
    t.match(
      (await read<TransitionList>(`events?ids=${id}`)).items,
      history.map((item) => ({ ...item, taskId: id })),
    )
    controller.abort()
    socket.terminate()
  },
)

t.test('a watcher that was away receives each edit it missed, in order with the transitions', async (t) => {
  const { id } = await createTask(baseUrl, { title: 'first', delayMs: HOUR_MS, payload: { steps: 0 } })
  await edit(id, { title: 'second', priority: 3 })
  await edit(id, { title: 'third' })
  const missed = await open(id, '?since=1')
  const story = async (watcher: Watcher, version: number) => {
    await watcher.until((message) => message.version === version)
    return watcher.messages.map(({ type, version }) => `${type} ${version}`)
  }
  t.same(await story(missed, 3), ['resumed 1', 'transition 2', 'transition 3'])
  t.match(missed.messages.slice(1), [
    { edited: ['title', 'priority'] },
    { edited: ['title'], changes: { title: 'third' } },
  ])
  missed.terminate()

  await edit(id, { runAt: inMs(0) })
  t.match(await read(`${id}?wait=30`), { status: 'COMPLETED', title: 'third' })
  const after = await watch(baseUrl, `/ws/tasks/${id}?since=1`).closed
  t.equal(after.code, 1000)
  t.same(
    after.messages.map(({ version, status }) => `${version} ${status}`),
    ['1 SCHEDULED', '2 SCHEDULED', '3 SCHEDULED', '4 SCHEDULED', '5 PENDING', '6 PROCESSING', '7 COMPLETED'],
  )
  const events = await readAllEvents(
    await fetch(`${baseUrl}/api/tasks/${id}/events`, {
      headers: { accept: 'text/event-stream', 'last-event-id': '3' },
    }),
  )
  t.same(
    events.flatMap(({ id }) => id ?? []),
    ['3', '4', '5', '6', '7'],
  )
})

t.test('a watcher that missed many edits receives each value once, however large it is', async (t) => {
  const { id } = await createTask(baseUrl, {
    type: 'http.request',
    delayMs: HOUR_MS,
    payload: { url: 'http://example.com/', method: 'POST', body: '0' },
  })
  const watcher = await open(id)
  const bodyOf = (index: number) => `${index}`.repeat(20_000)
  for (let index = 1; index <= 6; index += 1)
    await edit(id, { payload: { url: 'http://example.com/', method: 'POST', body: bodyOf(index) } })
  t.match(
    await watcher.until(({ version }) => version === 7),
    { changes: { payload: { body: bodyOf(6) } } },
    'a value too large for an event is read from PostgreSQL',
  )
  watcher.terminate()
  // Reads the history as a process without the events does.
  const edits = await readTransitionMessages(DEFAULT_PRINCIPAL, db, id, 1, 100)
  t.same(
    edits.map(({ edited }) => edited),
    Array.from({ length: 6 }, () => ['payload']),
  )
  t.same(
    edits.map(({ changes }) => Object.keys(changes ?? {})),
    [[], [], [], [], [], ['payload']],
    'only the last value is stored',
  )
})

t.test('the client of the page and of programs shows edits, in one task and in a selection', async (t) => {
  const { id } = await createTask(baseUrl, { title: 'before', delayMs: HOUR_MS, tags: ['clients'] })
  const watches = (['websocket', 'events', 'poll'] as const).map((transport) =>
    watchTask(id, { baseUrl, transports: [transport], WebSocket }),
  )
  const many = watchTasks({ ids: [id] }, { baseUrl, WebSocket })
  t.teardown(() => [...watches, many].forEach((watch) => watch.close()))
  const until = async (isSo: () => boolean) => {
    while (!isSo()) await sleep(10)
  }
  const all = () => [...watches.map(({ task }) => task), many.tasks.get(id)]
  await until(() => all().every(Boolean))
  const runAt = inMs(5 * HOUR_MS)
  await edit(id, { runAt, title: 'after', priority: 2, tags: ['x'], payload: { steps: 2 } })
  await until(() => all().every((task) => task?.version === 2))
  for (const task of all())
    t.match(task, {
      version: 2,
      runAt,
      title: 'after',
      priority: 2,
      tags: ['x'],
      payload: { steps: 2 },
      status: 'SCHEDULED',
    })
})

t.test('a client without support for edits follows an edited task to its end without a gap', async (t) => {
  const { id } = await createTask(baseUrl, { delayMs: HOUR_MS, payload: { steps: 0 } })
  const watcher = await open(id)
  await edit(id, { title: 'edited' })
  await edit(id, { runAt: inMs(0) })
  const { messages } = await watcher.closed
  // The fold of the previous version, which did not know edits.
  let held = { version: 0, status: '', runAt: null as string | null }
  for (const message of messages) {
    if (message.type === 'snapshot') held = message.task
    if (message.type === 'transition') {
      t.equal(message.version, held.version + 1)
      held = { version: message.version, status: message.status, runAt: message.runAt ?? null }
      if (message.status === 'SCHEDULED') t.ok(held.runAt, 'a SCHEDULED task keeps its start time')
    }
  }
  t.match(held, { version: 6, status: 'COMPLETED' })
})

t.test('an edit that changes nothing creates no version, no event and no new ETag', async (t) => {
  const body = {
    title: 'same',
    priority: 4,
    tags: ['t'],
    payload: { steps: 3 },
    runAt: inMs(HOUR_MS),
    expiresAt: inMs(2 * HOUR_MS),
  }
  const { id } = await createTask(baseUrl, body)
  const watcher = await open(id)
  const first = await edit(id, { title: 'same' })
  t.match(first, { status: 200, task: { version: 1 } })
  const { runAt, expiresAt } = first.task
  for (const change of [
    { priority: 4 },
    { tags: ['t'] },
    { payload: first.task.payload },
    { runAt },
    { expiresAt },
    { ...body, runAt, expiresAt },
  ]) {
    t.match(
      await edit(id, change, { 'if-match': first.etag ?? '' }),
      { status: 200, task: { version: 1 }, etag: first.etag },
      Object.keys(change).join(),
    )
  }
  t.match(await edit(id, { title: 'other', priority: 4 }), { task: { version: 2 } })
  t.match(
    await watcher.until(({ version }) => version === 2),
    { edited: ['title'], changes: { title: 'other' } },
    'only the changed fields are named',
  )
  t.equal(watcher.messages.filter(({ type }) => type !== 'waiting').length, 2)
  watcher.terminate()
})

t.test(
  'of concurrent edits of the same state one is stored; without If-Match all are, one after another',
  async (t) => {
    const { id } = await createTask(baseUrl, { delayMs: HOUR_MS })
    const { etag } = await edit(id, { title: 'known' })
    const guarded = await Promise.all(
      Array.from({ length: 6 }, (_, index) => edit(id, { title: `guarded ${index}` }, { 'if-match': etag ?? '' })),
    )
    t.same(guarded.map(({ status }) => status).sort(), [200, 412, 412, 412, 412, 412])
    await Promise.all(Array.from({ length: 6 }, (_, index) => edit(id, { title: `free ${index}` })))
    const { items } = await read<TransitionList>(`${id}/events`)
    t.same(
      items.map(({ version }) => version),
      Array.from({ length: 9 }, (_, index) => index + 1),
    )
  },
)

t.test('an edit concurrent with the start of its task is part of the run, or is refused', async (t) => {
  const results = await Promise.all(
    Array.from({ length: 30 }, async (_, index) => {
      const { id } = await createTask(baseUrl, { payload: { steps: 0 } })
      await sleep(index % 6)
      const { status } = await edit(id, { payload: { steps: 1, stepMs: 1 } })
      const task = await read(`${id}?wait=30`)
      const { items } = await read<TransitionList>(`${id}/events`)
      return {
        id,
        status,
        steps: (task.result as { steps: number }).steps,
        edits: items.filter(({ edited }) => edited).length,
        told: items.map(({ status }) => status),
      }
    }),
  )
  for (const { id, status, steps, edits } of results)
    t.same([steps, edits], status === 200 ? [1, 1] : [0, 0], `${id}: ${status}`)
  t.ok(results.every(({ status }) => status === 200 || status === 409))
})

t.test('an edit whose event is lost is found by the position check', async (t) => {
  const { id } = await createTask(baseUrl, { delayMs: HOUR_MS })
  const watcher = await open(id)
  // Edits without an event, as a process that ends between its commit and its event does.
  await editTaskIfWaiting(DEFAULT_PRINCIPAL, db, id, { title: 'nobody was told' })
  t.match(await watcher.until(isEdit), { version: 2, changes: { title: 'nobody was told' } })
  watcher.terminate()
})
