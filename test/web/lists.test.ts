/** Live lists, over WebSockets and server-sent events, on real services. */
import postgres from 'postgres'
import t from 'tap'
import type { Task } from '../../src/protocol/task.js'
import { startApp, startWebBeside } from '../helpers/app.js'
import { readList, watchList } from '../helpers/list-watch.js'
import { createTask } from '../helpers/watch.js'

const app = await startApp(t, ['worker', 'relay'], { MAX_STREAMS_PER_ADDRESS: '200' })
const { address } = app
const statusesOf = (list: { rows(): { status: string }[] }) => list.rows().map(({ status }) => status)

async function createBatch(
  count: number,
  of: object = { payload: { steps: 0 } },
): Promise<{ batchId: string; items: Task[] }> {
  const body = JSON.stringify({ tasks: Array.from({ length: count }, (_, index) => ({ title: `${index}`, ...of })) })
  const answer = await fetch(`${address}/api/tasks/batch`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  })
  return (await answer.json()) as { batchId: string; items: Task[] }
}

t.test('a list sends its rows, then added, changed and removed ones, as stored', async (t) => {
  const list = await watchList(t, address, { filter: { tag: 'first' }, limit: 3 })
  t.match(list.messages, [
    { type: 'list', revision: 1, items: [], nextCursor: null, newer: 0, counts: { byStatus: {}, more: [] } },
  ])
  const tasks: Task[] = []
  for (const title of ['a', 'b', 'c', 'd'])
    tasks.push(await createTask(address, { title, tags: ['first'], payload: { steps: 2, stepMs: 20 } }))
  await createTask(address, { tags: ['other'], payload: { steps: 0 } })
  await list.until(() => list.rows().length === 3 && statusesOf(list).every((status) => status === 'COMPLETED'))
  t.same(list.rows(), await readList(address, { filter: { tag: 'first' }, limit: 3 }))
  t.same(
    list.rows().map(({ title }) => title),
    ['d', 'c', 'b'],
  )
  t.notOk(list.rows().some((row) => 'payload' in row || 'result' in row))
  await list.until(() => list.state.counts?.byStatus.COMPLETED === 4)
  const rest = await watchList(t, address, { filter: { tag: 'first' }, before: list.state.nextCursor ?? '' })
  t.same(
    rest.rows().map(({ id }) => id),
    [tasks[0]?.id],
  )
  t.equal(rest.state.newer, 3)
  await createTask(address, { tags: ['first'], delayMs: 3_600_000 })
  await rest.until(() => rest.state.newer === 4)
})

t.test('a task is a row while its status matches', async (t) => {
  const [later, failed] = await Promise.all([
    watchList(t, address, { filter: { status: 'SCHEDULED', tag: 's' } }),
    watchList(t, address, { filter: { status: 'FAILED', tag: 's' } }),
  ])
  const task = await createTask(address, { tags: ['s'], payload: { steps: 1, stepMs: 1, failAt: 1 }, delayMs: 4_000 })
  await later.until(() => later.rows().some(({ id }) => id === task.id))
  await Promise.all([
    later.until(() => later.rows().length === 0),
    failed.until(() => failed.rows().some(({ id }) => id === task.id)),
  ])
})

t.test('each filter treats new tasks as PostgreSQL does', async (t) => {
  const now = new Date().toISOString()
  const parent = (await createTask(address, { delayMs: 3_600_000 })).id
  const filters = [
    { type: 'demo.sleep', tag: 'é' },
    { queue: 'tasks-export' },
    { q: 'ÄPFEL' },
    { createdAfter: now, tag: 'é' },
    { createdBefore: now, tag: 'é' },
    { parent },
  ]
  const lists = await Promise.all(filters.map((filter) => watchList(t, address, { filter })))
  const made = await createTask(address, {
    title: 'grüne äpfel',
    tags: ['é'],
    queue: 'tasks-export',
    delayMs: 3_600_000,
  })
  const [, , , , before, children] = lists
  for (const [index, list] of lists.entries()) {
    if (list === before || list === children) continue
    await list.until(() => list.rows().some(({ id }) => id === made.id))
    t.same(list.rows(), await readList(address, { filter: filters[index] ?? {} }), JSON.stringify(filters[index]))
  }
  t.same([before?.rows(), children?.rows()], [[], []])
})

t.test(
  'a batch of 1,000 short tasks with all rows loaded has no wrong row once all have ended, whenever a watcher joins',
  async (t) => {
    const beside = await startWebBeside(t, app, {})
    const { batchId } = await createBatch(1_000)
    const list = { filter: { batch: batchId }, limit: 1_000 }
    const early = await watchList(t, address, list)
    await early.until(() => statusesOf(early).includes('COMPLETED'))
    const others = await Promise.all([watchList(t, beside, list), watchList(t, address, list)])
    for (const one of [early, ...others]) {
      await one.until(() => one.rows().length === 1_000 && statusesOf(one).every((status) => status === 'COMPLETED'))
      t.same(one.state.counts, { byStatus: { COMPLETED: 1_000 }, more: [] })
    }
    const stored = await readList(address, list)
    for (const one of [early, ...others]) t.same(one.rows(), stored)
  },
)

t.test("a task created by an application's SQL is found without a notice", async (t) => {
  const list = await watchList(t, address, { filter: { tag: 'sql' } })
  const sql = postgres(app.databaseUrl, { max: 1 })
  t.teardown(() => sql.end())
  await sql`select taskwire.create_task('demo.sleep', '{"steps":0}', null, 0, array['sql'])`
  await list.until(() => statusesOf(list).join() === 'COMPLETED')
})

t.test('identical lists share a room and a name, and a connection may follow eight', async (t) => {
  const list = await watchList(t, address, { filter: { tag: 'eight' } })
  const answers: { type: string; id: string; list?: string; code?: string; errors?: { pointer: string }[] }[] = []
  list.socket.on('message', (data: Buffer) => {
    const said = JSON.parse(data.toString()) as (typeof answers)[number]
    if ('id' in said) answers.push(said)
  })
  const ask = async (request: { id: string; [field: string]: unknown }) => {
    list.socket.send(JSON.stringify({ type: 'subscribe', ...request }))
    while (!answers.some(({ id }) => id === request.id))
      await new Promise((resolve) => list.socket.once('message', resolve))
    return answers.find(({ id }) => id === request.id)
  }
  const same = await ask({ id: 'same', list: { limit: 50, filter: { tag: 'eight' } } })
  t.equal(same?.list, list.messages[0]?.list)
  t.match(await ask({ id: 'cursor', list: { before: 'x' } }), {
    code: 'invalid_request',
    errors: [{ pointer: '/list/before' }],
  })
  t.match(await ask({ id: 'time', list: { filter: { createdAfter: '2026-02-30T00:00:00Z' } } }), {
    code: 'invalid_request',
    errors: [{ pointer: '/list/filter/createdAfter' }],
  })
  t.match(await ask({ id: 'wide', list: { limit: 1_001 } }), {
    code: 'invalid_request',
    errors: [{ pointer: '/list/limit' }],
  })
  t.match(await ask({ id: 'odd', list: { filter: { status: 'completed' } } }), {
    code: 'invalid_request',
    errors: [{ pointer: '/list/filter/status' }],
  })
  for (let count = 3; count <= 8; count += 1)
    t.match(await ask({ id: `${count}`, list: { limit: count } }), { type: 'subscribed' })
  t.match(await ask({ id: '9', list: { limit: 9 } }), { code: 'too_many_lists' })
})

t.test('server-sent events carry a list together with tasks', async (t) => {
  const task = await createTask(address, { tags: ['sse'], payload: { steps: 1, stepMs: 20 }, delayMs: 4_000 })
  const response = await fetch(`${address}/api/tasks/events?list=5&tag=sse&ids=${task.id}`, {
    headers: { accept: 'text/event-stream' },
  })
  let text = ''
  const decoder = new TextDecoder()
  const reader = response.body?.getReader()
  while (!/event: change\ndata: [^\n]*COMPLETED/.test(text) || !/event: transition\ndata: [^\n]*COMPLETED/.test(text))
    text += decoder.decode((await reader?.read())?.value, { stream: true })
  await reader?.cancel()
  t.match(text, /event: subscribed\ndata: \{"type":"subscribed","tasks":1,"missing":\[\],"list":"list-\d+"\}/)
  t.match(text, /id: 0\nevent: list\ndata: \{"type":"list"/)
  t.match(text, /id: 3\nevent: transition/)
  const refused = await fetch(`${address}/api/tasks/events?list=5`)
  t.match([refused.status, await refused.json()], [400, { errors: [{ pointer: '/list' }] }])
  const lines = await fetch(`${address}/api/tasks/events?list=5&tag=sse`, { headers: { accept: 'text/plain' } })
  const first = await lines.body?.getReader().read()
  t.match(decoder.decode(first?.value), /^1 tasks\n/)
})
