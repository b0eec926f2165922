/** Why a task waits, over REST and on streams: every reason, built in PostgreSQL with workers as rows. */
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import type { StreamMessage, WaitingMessage } from '../../src/protocol/stream.js'
import type { Task } from '../../src/protocol/task.js'
import { WaitExplainer } from '../../src/tasks/release/wait-explainer.js'
import { readExplained } from '../../src/web/explained-reader.js'
import { createTaskReader, type TaskReader } from '../../src/web/task-reader.js'
import { drainWorker, resumeWorker } from '../../src/store/workers.js'
import { readFrame } from '../helpers/frame-check.js'
import { readEvents } from '../helpers/sse.js'
import { isWaiting, openWaiting } from '../helpers/waiting.js'
import { watch } from '../helpers/watch.js'

const { app, db, openQueue, run, store, one, release, start, end, ask, read, why } = await openWaiting(t)

t.test('a task with a time to start waits for it, also when no worker is there yet', async (t) => {
  const runAt = '2999-01-01T00:00:00.000Z'
  const waitingFor = await why(t, await one({ queue: await openQueue(), runAt }))
  t.match(waitingFor, { code: 'run_time', until: runAt, ahead: null, start: { at: runAt, earliestAt: runAt } })
  t.match(await why(t, await one({ queue: 'nowhere', runAt })), { code: 'run_time', start: null })
})

t.test('a task whose attempt has failed waits for the next to be due', async (t) => {
  const id = await one({ queue: await openQueue(), maxAttempts: 3 })
  await release()
  await start(id)
  await end(id, { outcome: 'failed', status: 'RETRYING', retryInMs: 3_600_000 })
  const { runAt } = await read(id)
  t.match(await why(t, id), { code: 'backoff', until: runAt, text: `attempt 2 is due at ${runAt}` })
})

t.test('no worker serves the queue: none at all, only a drained one, a stopping one, or a lost one', async (t) => {
  t.match(await why(t, await one({ queue: 'nowhere' })), {
    code: 'no_worker_for_queue',
    text: 'no worker that takes tasks serves the queue nowhere',
    start: null,
  })
  const queue = await openQueue()
  const id = await one({ queue })
  t.match(await why(t, id), { code: 'starting' })
  await drainWorker(db, `w-${queue}`, { by: 'anna', reason: null })
  t.match(await why(t, id), { code: 'no_worker_for_queue' })
  await resumeWorker(db, `w-${queue}`)
  await run(`update taskwire.workers set is_stopping = true where id = 'w-${queue}'`)
  t.match(await why(t, id), { code: 'no_worker_for_queue' })
  await run(`update taskwire.workers set is_stopping = false, lease_until = now() where id = 'w-${queue}'`)
  t.match(await why(t, id), { code: 'no_worker_for_queue' })
})

t.test('no worker of the queue knows the type, though one of another queue does', async (t) => {
  await openQueue()
  const queue = await openQueue(5, ['demo.fail'])
  t.match(await why(t, await one({ queue })), {
    code: 'no_worker_for_type',
    text: `no worker that takes tasks of the queue ${queue} knows the type demo.sleep`,
  })
})

t.test('a pause of a queue, a type, a tenant or a key holds a task, and says by whom and why', async (t) => {
  const queue = await openQueue()
  const pauses = [
    [`'queue', '', '${queue}'`, `the queue ${queue} is paused by anna: the mail server moves`],
    [`'type', '', 'demo.fail'`, 'the type demo.fail is paused by anna: the mail server moves'],
    [`'tenant', '', 'default'`, 'the tenant default is paused by anna: the mail server moves'],
    [`'key', 'default', 'k1'`, 'the key k1 is paused by anna: the mail server moves'],
  ]
  const id = await one({ queue, type: 'demo.fail', more: { concurrencyKey: 'k1' } })
  const open = await one({ queue, type: 'demo.fail', isGated: false, isHandedOver: true })
  for (const [what, text] of pauses) {
    await run(
      `insert into taskwire.pauses (kind, tenant, name, reason, set_by) values (${what}, 'the mail server moves', 'anna')`,
    )
    t.match(await why(t, id), { code: 'paused', text, until: null, start: null, ahead: null })
    if (!what?.includes('key')) t.match(await why(t, open), { code: 'paused', text }, 'one in no lane too')
    await run('delete from taskwire.pauses')
  }
})

t.test(
  'of several pauses the one that lasts longest is named, and a pause that ends before the start is not',
  async (t) => {
    const queue = await openQueue()
    const [soon, later] = [3_600_000, 7_200_000].map((ms) => new Date(Date.now() + ms).toISOString())
    await run(
      `insert into taskwire.pauses (kind, name, set_by, until) values ('queue', '${queue}', 'a', '${soon}'), ('type', 'demo.sleep', 'b', '${later}')`,
    )
    t.match(await why(t, await one({ queue })), { code: 'paused', until: later, start: { at: later } })
    const runAt = new Date(Date.now() + 86_400_000).toISOString()
    t.match(await why(t, await one({ queue, runAt })), { code: 'run_time' })
    await run(`update taskwire.pauses set until = null where kind = 'type'`)
    t.match(await why(t, await one({ queue, runAt })), { code: 'paused', until: null })
    await run('delete from taskwire.pauses')
  },
)

t.test('a sequence names its first task, and what halted it', async (t) => {
  const queue = await openQueue()
  const ids = await store(3, { queue, more: { sequenceKey: `s-${queue}` } })
  t.match(await why(t, ids[2] ?? ''), { code: 'sequence', taskIds: [ids[0]], ahead: 2 })
  await release()
  await start(ids[0] ?? '')
  t.match(await why(t, ids[1] ?? ''), { code: 'sequence', taskIds: [ids[0]], ahead: 1 })
  await end(ids[0] ?? '', { outcome: 'failed', status: 'FAILED' })
  t.match(await why(t, ids[1] ?? ''), { code: 'sequence_halted', taskIds: [ids[0]], start: null })
})

t.test('a task behind others waits for its turn, in a lane or in none', async (t) => {
  for (const isGated of [true, false]) {
    const queue = await openQueue(2)
    const ids = await store(5, { queue, isGated, isHandedOver: !isGated })
    await release()
    for (const id of ids.slice(0, 2)) await start(id)
    t.match(await why(t, ids[4] ?? ''), {
      code: 'turn',
      text: `all slots of the queue ${queue} are taken; 2 tasks are ahead of it`,
      ahead: 2,
    })
    t.match(await why(t, ids[2] ?? ''), { code: 'turn', ahead: 0 })
    await end(ids[0] ?? '')
    t.match(await why(t, ids[2] ?? ''), { code: 'starting', ahead: null })
  }
})

t.test('lanes take turns: of a backlog of another tenant only as many are ahead of it as of its own', async (t) => {
  const queue = await openQueue(1)
  const [running] = await store(40, { queue, tenant: 'busy' })
  await release()
  await start(running ?? '')
  const ids = await store(3, { queue })
  await release()
  const { code, ahead } = await why(t, ids[2] ?? '')
  t.equal(code, 'turn')
  t.ok((ahead ?? 0) >= 3 && (ahead ?? 0) <= 6, `${ahead} are ahead of it, not 40`)
})

t.test('a task that runs or has ended waits for nothing; lists and creates do not say', async (t) => {
  const queue = await openQueue()
  const id = await one({ queue })
  await release()
  await start(id)
  t.equal((await read(id)).waitingFor, null)
  await end(id)
  t.equal((await read(id)).waitingFor, null)
  const list = (await (await fetch(`${app.address}/api/tasks?queue=${queue}`)).json()) as { items: object[] }
  t.notOk('waitingFor' in (list.items[0] ?? {}))
  const created = await fetch(`${app.address}/api/tasks`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"title":"x"}',
  })
  t.notOk('waitingFor' in ((await created.json()) as object))
})

t.test('a task that starts while it is read is read again, and one that waits always has a reason', async (t) => {
  const id = await one({ queue: await openQueue() })
  await release()
  const waits = new WaitExplainer(db)
  const read = createTaskReader(db)
  let reads = 0
  const readTask: TaskReader = async (...asked) => {
    const task = await read(...asked)
    reads += 1
    if (reads === 1) await start(id)
    return task
  }
  const found = await readExplained(DEFAULT_PRINCIPAL, id, { readTask, waits })
  t.match(found, { task: { status: 'PROCESSING' }, waitingFor: null })
  t.equal(reads, 2)
  const before = { ...found.task, status: 'PENDING' as const }
  const always = await readExplained(DEFAULT_PRINCIPAL, id, { readTask: async () => before, waits })
  t.match(always, { task: { status: 'PENDING' }, waitingFor: { code: 'starting' } }, 'put back and started each time')
})

t.test('a tenant sees nothing of the others that hold a limit', async (t) => {
  const queue = await openQueue()
  await run(
    `insert into taskwire.limits (name, queue, concurrency, set_by) values ('one-${queue}', '${queue}', 1, 'test')`,
  )
  const secret = { queue, tenant: 'secret-tenant', more: { concurrencyKey: 'secret-key' } }
  const [holder] = await store(3, secret)
  await release()
  const id = await one({ queue, tenant: 'other' })
  await release()
  const answer = await (await ask(id, { 'x-tenant': 'other' })).text()
  const { waitingFor } = JSON.parse(answer) as Task
  t.match(waitingFor, { code: 'limit', taskIds: [] })
  t.notMatch(answer, /secret/)
  t.notOk(answer.includes(holder ?? ''))
  t.equal((await ask(id, { 'x-tenant': 'secret-tenant' })).status, 404)
  const own = await store(1, secret)
  const theirs = (await read(own[0] ?? '', { 'x-tenant': 'secret-tenant' })).waitingFor
  t.same(theirs?.taskIds, [holder], 'the tenant itself sees its task')
})

t.test('a stream tells when the reason changes, by a pause and its end, and null when the task starts', async (t) => {
  const queue = await openQueue()
  const id = await one({ queue })
  const watcher = watch(app.address, `/ws/tasks/${id}`)
  const events = readEvents(await ask(`${id}/events`, { accept: 'text/event-stream' }))
  const until = (code: string | null) =>
    watcher.until((message) => isWaiting(message) && (message.waitingFor?.code ?? null) === code)
  await until('starting')
  await run(`insert into taskwire.pauses (kind, name, set_by) values ('queue', '${queue}', 'anna')`)
  await until('paused')
  await run('delete from taskwire.pauses')
  await watcher.until(() => codesOf(watcher.messages).length === 3)
  await release()
  await start(id)
  await until(null)
  t.same(codesOf(watcher.messages), ['starting', 'paused', 'starting', null])
  watcher.terminate()
  for await (const { event, data } of events)
    if (event === 'waiting') return t.match(readFrame(data ?? ''), { taskId: id })
})

const codesOf = (messages: readonly StreamMessage[]) =>
  messages.filter(isWaiting).map(({ waitingFor }) => waitingFor?.code ?? null)

t.test('subscriptions to tasks tell it too, of every task', async (t) => {
  const ids = [await one({ queue: 'nowhere' }), await one({ queue: await openQueue() })]
  const answer = await fetch(`${app.address}/api/tasks/events?ids=${ids.join(',')}`, {
    headers: { accept: 'text/event-stream' },
  })
  t.equal(answer.status, 200)
  const codes = new Map<string, string | undefined>()
  for await (const { event, data } of readEvents(answer)) {
    if (event !== 'waiting') continue
    const message = readFrame(data ?? '') as WaitingMessage
    codes.set(message.taskId, message.waitingFor?.code)
    if (codes.size === 2) break
  }
  t.same([codes.get(ids[0] ?? ''), codes.get(ids[1] ?? '')], ['no_worker_for_queue', 'starting'])
})

t.test('the tag changes with the reason, not with the estimate, and an edit accepts it', async (t) => {
  const queue = await openQueue()
  const id = await one({ queue })
  const tagOf = (answer: Response) => answer.headers.get('etag') ?? ''
  const tag = tagOf(await ask(id))
  t.equal((await ask(id, { 'if-none-match': tag })).status, 304)
  t.equal((await ask(id, { 'if-none-match': tag.replace('W/', '') })).status, 304)
  await run(`insert into taskwire.pauses (kind, name, set_by) values ('queue', '${queue}', 'anna')`)
  const paused = await ask(id, { 'if-none-match': tag })
  t.equal(paused.status, 200)
  t.match((await paused.json()) as Task, { version: 1, waitingFor: { code: 'paused' } })
  await run('delete from taskwire.pauses')
  const edit = await fetch(`${app.address}/api/tasks/${id}`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json', 'if-match': tag },
    body: '{"title":"edited"}',
  })
  t.equal(edit.status, 200, await edit.text())
  t.equal((await ask(id, { 'if-none-match': tag })).status, 200)
})
