/** Requests beyond a plain create, with a worker and a relay running, and with our own types. */
import t from 'tap'
import type { Problem } from '../../src/protocol/errors.js'
import type { Attempt, Batch } from '../../src/protocol/http.js'
import type { Task } from '../../src/protocol/task.js'
import { startApp } from '../helpers/app.js'
import { OWN_TASKS } from '../helpers/processes.js'
import { createSend } from '../helpers/send.js'
import { readAllEvents } from '../helpers/sse.js'
import { watch } from '../helpers/watch.js'

const { address } = await startApp(t, ['worker', 'relay'], {
  TASKS_DIR: OWN_TASKS,
  CANCEL_GRACE_SECONDS: '1',
  QUEUES: 'quiet',
})

const send = createSend(address)

const create = async (body: unknown) => (await send('POST', '/api/tasks', body)).body
const read = async (id: string) => (await send('GET', `/api/tasks/${id}`)).body
const end = async (id: string) => (await send('GET', `/api/tasks/${id}?wait=20`)).body

async function until(id: string, status: string): Promise<Task> {
  for (;;) {
    const task = await read(id)
    if (task.status === status) return task
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

t.test('a failed task is retried, and each attempt can be read', async (t) => {
  const { id, maxAttempts } = await create({ type: 'test.flaky', payload: { failures: 2 } })
  t.equal(maxAttempts, 5)
  t.match(await end(id), { status: 'COMPLETED', attempt: 3, result: { attempt: 3 }, version: 8 - 1 })
  const { body } = await send<{ items: Attempt[] }>('GET', `/api/tasks/${id}/attempts`)
  t.match(body.items, [
    { attempt: 1, outcome: 'failed', error: { name: 'RetryLater', message: 'not yet' } },
    { attempt: 2, outcome: 'failed', error: { name: 'Error', message: 'failure 2' } },
    { attempt: 3, outcome: 'completed', error: null },
  ])
  t.notMatch(JSON.stringify(body), 'stack')
  t.match(await end((await create({ type: 'test.flaky', payload: { failures: 9 } })).id), {
    status: 'FAILED',
    attempt: 5,
    failure: { message: 'failure 5' },
  })
})

t.test(
  'a cancel ends a waiting task at once, a running one after its handler, and one that ignores it after the grace period',
  async (t) => {
    const waiting = await create({ delayMs: 3_600_000 })
    const answer = await send('POST', `/api/tasks/${waiting.id}/cancel`)
    t.match(answer, { status: 200, body: { status: 'CANCELLED', version: 2 } })
    const [obeys, ignores] = await Promise.all(
      [true, false].map((flag) => create({ type: 'test.wait', payload: { obeys: flag } })),
    )
    await Promise.all([obeys, ignores].map((task) => until(task?.id ?? '', 'PROCESSING')))
    const socket = watch(address, `/ws/tasks/${obeys?.id}`)
    await socket.until(({ type }) => type === 'snapshot')
    // The task may have stopped before the response is built.
    const asked = await send('POST', `/api/tasks/${obeys?.id}/cancel`, { reason: 'no more' })
    t.match(`${asked.status} ${asked.body.status}`, /^(202 CANCELLING|200 CANCELLED)$/)
    t.match(await end(obeys?.id ?? ''), { status: 'CANCELLED', version: 4 })
    t.equal((await socket.closed).code, 1000)
    t.match(socket.messages.slice(-2), [{ status: 'CANCELLING', reason: 'no more' }, { status: 'CANCELLED' }])
    await send('POST', `/api/tasks/${ignores?.id}/cancel`, {})
    t.match(
      await send('POST', `/api/tasks/${ignores?.id}/cancel`),
      { status: 202, body: { status: 'CANCELLING', version: 3 } },
      'a second cancel changes nothing',
    )
    t.match(await end(ignores?.id ?? ''), { status: 'CANCELLED', version: 4 })
    t.match(await send('POST', `/api/tasks/${ignores?.id}/cancel`), { status: 200, body: { status: 'CANCELLED' } })
    const done = await create({ payload: { steps: 0 } })
    await end(done.id)
    t.match(await send('POST', `/api/tasks/${done.id}/cancel`), {
      status: 409,
      body: { code: 'not_cancellable', detail: 'The task is COMPLETED.' },
    })
    t.match(await send('POST', '/api/tasks/019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10/cancel'), {
      status: 404,
      body: { code: 'task_not_found' },
    })
    t.match(await send('POST', `/api/tasks/${done.id}/cancel`, { reson: 'x' }), {
      status: 400,
      body: { code: 'invalid_request' },
    })
    t.match(await send('POST', `/api/tasks/${done.id}/cancel`, { reason: 'a\0b' }), {
      status: 400,
      body: { errors: [{ pointer: '/reason' }] },
    })
    t.match(await send('GET', '/api/tasks?tag=%00'), { status: 400, body: { errors: [{ pointer: '/tag' }] } })
  },
)

t.test('children are cancelled with their parent on request', async (t) => {
  const parent = await create({ type: 'test.family', payload: { children: 3 } })
  let children: Task[] = []
  while (children.filter(({ status }) => status === 'PROCESSING').length < 3) {
    children = (await send<{ items: Task[] }>('GET', `/api/tasks?parent=${parent.id}`)).body.items
  }
  await send('POST', `/api/tasks/${parent.id}/cancel`, { children: true })
  for (const { id } of [parent, ...children]) t.match(await end(id), { status: 'CANCELLED' })
})

t.test('a unique task is created once until it has ended, and a type with concurrency 1 runs alone', async (t) => {
  const body = { type: 'test.single', payload: { name: 'a', ms: 1_000 } }
  const first = await send('POST', '/api/tasks', body)
  t.match(first, { status: 202, body: { uniqueKey: 'a', queue: 'test-single' } })
  const second = await send('POST', '/api/tasks', body)
  t.match(second, { status: 200, body: { id: first.body.id } })
  t.equal(second.headers.get('existing-task'), 'true')
  const others = await Promise.all(
    ['b', 'c'].map((name) => create({ type: 'test.single', payload: { name, ms: 100 } })),
  )
  const runs = (await Promise.all([first.body, ...others].map(({ id }) => end(id)))).map(
    ({ result }) => result as { from: number; to: number },
  )
  runs.sort((a, b) => a.from - b.from)
  t.ok(
    runs.every(({ from }, index) => index === 0 || from >= (runs[index - 1]?.to ?? 0)),
    'one after the other',
  )
  t.match(await send('POST', '/api/tasks', body), { status: 202 }, 'the key is free again')
  t.match(await create({ uniqueKey: 'mine', delayMs: 60_000 }), { uniqueKey: 'mine' }, 'any task may have a unique key')
})

t.test('a unique task of a batch is the answer to a create with a key, and to its replay', async (t) => {
  const { items } = (
    await send<Batch>('POST', '/api/tasks/batch', {
      tasks: [{ delayMs: 60_000 }, { delayMs: 60_000, uniqueKey: 'in a batch' }],
    })
  ).body
  const repeat = () => send('POST', '/api/tasks', { uniqueKey: 'in a batch' }, { 'idempotency-key': '"of a batch"' })
  t.match(await repeat(), { body: { id: items[1]?.id } })
  t.match(await repeat(), { body: { id: items[1]?.id } })
})

t.test('a configured queue is accepted, any other is refused', async (t) => {
  const task = await create({ queue: 'quiet', payload: { steps: 0 } })
  t.equal(task.queue, 'quiet')
  t.match(await end(task.id), { status: 'COMPLETED' })
  const errors = [{ pointer: '/queue', detail: /"other" is not one of default, .*quiet/, fix: /QUEUES/ }]
  t.match(await send('POST', '/api/tasks', { queue: 'other' }), { status: 422, body: { errors } })
  const both = await send<Problem>('POST', '/api/tasks', {
    queue: 'other',
    payload: { steps: -1 },
    delayMs: 1,
    runAt: '2030-01-01T00:00:00Z',
  })
  t.match(both, { status: 422, body: { code: 'invalid_task' } })
  t.same(
    both.body.errors?.map(({ pointer }) => pointer),
    ['/delayMs', '/queue', '/payload/steps'],
    'all tasks are created at once',
  )
  t.match(await send('POST', '/api/tasks', { queue: 'Not A Queue' }), {
    status: 400,
    body: { errors: [{ pointer: '/queue' }] },
  })
})

t.test('a batch is all or nothing, can be followed, and is replayed with its key', async (t) => {
  const tasks = Array.from({ length: 20 }, (_, index) => ({ title: `${index}`, payload: { steps: 0 } }))
  const key = { 'idempotency-key': '"a batch"' }
  const made = await send<Batch>('POST', '/api/tasks/batch', { tasks }, key)
  t.equal(made.status, 202)
  const { batchId, items } = made.body
  t.same(
    items.map(({ title }) => title),
    tasks.map(({ title }) => title),
  )
  t.ok(items.every((item) => item.batchId === batchId))
  const events = await readAllEvents(
    await fetch(`${address}/api/tasks/events?batch=${batchId}`, { headers: { accept: 'text/event-stream' } }),
  )
  const last = new Map(
    events
      .flatMap(({ data }) => (data ? [JSON.parse(data) as { taskId: string; status: string }] : []))
      .map(({ taskId, status }) => [taskId, status]),
  )
  t.same(
    items.map(({ id }) => last.get(id)),
    items.map(() => 'COMPLETED'),
  )
  const again = await send<Batch>('POST', '/api/tasks/batch', { tasks }, key)
  t.equal(again.headers.get('idempotent-replayed'), 'true')
  t.equal(again.body.batchId, batchId)
  t.same(
    again.body.items.map(({ id }) => id),
    items.map(({ id }) => id),
  )
  t.match(await send('POST', '/api/tasks/batch', { tasks: [{}] }, key), { status: 422, body: { code: 'key_reused' } })
  const wrong = await send('POST', '/api/tasks/batch', { tasks: [{ title: 'fine' }, { payload: { steps: -1 } }] })
  t.match(wrong, { status: 422, body: { code: 'invalid_payload', errors: [{ pointer: '/tasks/1/payload/steps' }] } })
  t.match(await send('POST', '/api/tasks/batch', { tasks: [] }), { status: 400 })
  t.match(await send('GET', '/api/tasks/events?batch=019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'), {
    status: 404,
    body: { code: 'batch_not_found' },
  })
})

t.test('a waiting task can be edited, and with If-Match only in the state that was read', async (t) => {
  const task = await create({ delayMs: 3_600_000, tags: ['old'] })
  const etag = (await send('GET', `/api/tasks/${task.id}`)).headers.get('etag') ?? ''
  const edited = await send(
    'PATCH',
    `/api/tasks/${task.id}`,
    { title: 'new', payload: { steps: 1 }, tags: [], priority: 3 },
    { 'if-match': etag },
  )
  t.match(edited, {
    status: 200,
    body: { title: 'new', payload: { steps: 1, stepMs: 300 }, tags: [], priority: 3, status: 'SCHEDULED' },
  })
  t.match(
    await send('PATCH', `/api/tasks/${task.id}`, { title: 'other' }, { 'if-match': etag }),
    { status: 412, body: { code: 'version_mismatch' } },
    'an edit is another state',
  )
  t.equal((await fetch(`${address}/api/tasks/${task.id}`, { headers: { 'if-none-match': etag } })).status, 200)
  const editedTag = edited.headers.get('etag') ?? ''
  const reread = await send('GET', `/api/tasks/${task.id}`)
  const rereadTag = reread.headers.get('etag') ?? ''
  t.equal((await fetch(`${address}/api/tasks/${task.id}`, { headers: { 'if-none-match': rereadTag } })).status, 304)
  t.match(await send('PATCH', `/api/tasks/${task.id}`, { priority: 3 }, { 'if-match': editedTag }), { status: 200 })
  t.match(await send('PATCH', `/api/tasks/${task.id}`, { payload: { steps: -1 } }), {
    status: 422,
    body: { errors: [{ pointer: '/payload/steps' }] },
  })
  t.match(await send('PATCH', `/api/tasks/${task.id}`, {}), { status: 400 })
  t.match(await send('PATCH', `/api/tasks/${task.id}`, { type: 'demo.sleep' }), { status: 400 })
  t.match(await send('PATCH', `/api/tasks/${task.id}`, { title: 'x' }, { 'if-match': '"7"' }), {
    status: 412,
    body: { code: 'version_mismatch' },
  })
  await send('PATCH', `/api/tasks/${task.id}`, { expiresAt: '2100-01-01T00:00:00Z' })
  t.match(await send('PATCH', `/api/tasks/${task.id}`, { runAt: '2101-01-01T00:00:00Z' }), {
    status: 422,
    body: { errors: [{ pointer: '/expiresAt' }] },
  })
  t.match(await send('PATCH', `/api/tasks/${task.id}`, { runAt: '2101-01-01T00:00:00Z', expiresAt: null }), {
    status: 200,
    body: { expiresAt: null },
  })
  t.match(await send('PATCH', `/api/tasks/${task.id}`, { expiresAt: '2100-12-31T00:00:00Z' }), {
    status: 422,
    body: { errors: [{ pointer: '/expiresAt', detail: /before the task could start/ }] },
  })
  t.match(await send('PATCH', `/api/tasks/${task.id}`, { runAt: '2000-01-01T00:00:00Z' }), { status: 200 })
  t.match(await end(task.id), { status: 'COMPLETED', result: { steps: 1 } })
  t.match(await send('PATCH', `/api/tasks/${task.id}`, { title: 'x' }), { status: 409, body: { code: 'not_editable' } })
})

t.test('a task that does not start in time is EXPIRED, and its watcher sees it', async (t) => {
  const busy = await create({ type: 'test.single', payload: { name: 'busy', ms: 4_000 } })
  const late = await create({
    type: 'test.single',
    payload: { name: 'late', ms: 0 },
    expiresAt: new Date(Date.now() + 1_500).toISOString(),
  })
  const watcher = watch(address, `/ws/tasks/${late.id}`)
  t.equal((await watcher.closed).code, 1000)
  t.match((await watcher.closed).messages.at(-1), {
    type: 'transition',
    status: 'EXPIRED',
    from: 'PENDING',
    version: 2,
    reason: 'not started in time',
  })
  t.match(await read(late.id), { status: 'EXPIRED', attempt: 0, startedAt: null, failure: null })
  t.match(await end(busy.id), { status: 'COMPLETED' })
  t.equal((await read(late.id)).version, 2, 'the expired task does not run')
})

t.test('a task can have expiresAt, and impossible combinations are refused', async (t) => {
  const soon = new Date(Date.now() + 3_600_000).toISOString()
  t.match(await create({ expiresAt: soon, delayMs: 60_000 }), { expiresAt: soon })
  t.match(await send('POST', '/api/tasks', { expiresAt: '2000-01-01T00:00:00Z' }), {
    status: 422,
    body: { errors: [{ pointer: '/expiresAt' }] },
  })
  t.match(await send('POST', '/api/tasks', { expiresAt: soon, delayMs: 7_200_000 }), {
    status: 422,
    body: { errors: [{ pointer: '/expiresAt' }] },
  })
  t.match(await send('POST', '/api/tasks', { callbackUrl: 'http://127.0.0.1/x' }), {
    status: 422,
    body: { errors: [{ pointer: '/callbackUrl' }] },
  })
  t.match(await send('POST', '/api/tasks', { callbackUrl: 'ftp://example.com' }), {
    status: 400,
    body: { errors: [{ pointer: '/callbackUrl' }] },
  })
})
