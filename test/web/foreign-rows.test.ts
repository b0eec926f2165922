/** Rows that no statement of Taskwire writes, but SQL at a console or an older version may have written: each is shown, and fails no other. */
import postgres from 'postgres'
import t from 'tap'
import { Compile } from 'typebox/compile'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { openDatabase } from '../../src/db/open.js'
import { Task, TaskSummary } from '../../src/protocol/task.js'
import { exportPage } from '../../src/store/reads/export.js'
import { startApp } from '../helpers/app.js'
import { watchList } from '../helpers/list-watch.js'
import { readEvents } from '../helpers/sse.js'

const app = await startApp(t)
const { address } = app
const sql = postgres(app.databaseUrl, { max: 1, onnotice: () => {} })
t.teardown(() => sql.end())

const LAST = '9999-12-31T23:59:59.999Z'
const FIRST = '0001-01-01T00:00:00.000Z'
const taskCheck = Compile(Task)
const summaryCheck = Compile(TaskSummary)

/** A column, what SQL writes into it, and what of it is shown. */
const ODD: [column: string, value: string, shown: Partial<Task>][] = [
  ...(['run_at', 'expires_at', 'started_at', 'finished_at', 'created_at'] as const).flatMap((column): typeof ODD => {
    const field = column.replace(/_a/, 'A') as 'runAt'
    return [
      [column, `'infinity'`, { [field]: LAST }],
      [column, `'-infinity'`, { [field]: FIRST }],
      [column, `'294000-01-01'`, { [field]: LAST }],
      [column, `'12000-06-01'`, { [field]: LAST }],
      [column, `'0044-03-15 BC'`, { [field]: FIRST }],
      [column, `'0099-02-03 04:05:06.7+00'`, { [field]: '0099-02-03T04:05:06.700Z' }],
    ]
  }),
  ['tags', `array[['odd', 'a'], ['b', null]]`, { tags: ['odd', 'a', 'b'] }],
  ['tags', `array['odd', null, 'c']`, { tags: ['odd', 'c'] }],
  ['tags', `'[5:6]={odd,d}'`, { tags: ['odd', 'd'] }],
  ...['"half"', '[]', '{}', '7', 'true', '{"fraction": "x", "done": 1, "total": null, "message": null, "at": "2026-01-01T00:00:00Z"}'].map((json): (typeof ODD)[number] => ['progress', `'${json}'`, { progress: null }]),
  ['progress', `to_jsonb(repeat('x', 10000))`, { progress: null }],
  ['progress', `(select jsonb_agg(n) from generate_series(1, 5000) n)`, { progress: null }],
  ['failure', `'"it broke"'`, { failure: { code: 'error', message: 'it broke', attempt: 0 } }],
  ['failure', `'{"message": "it broke"}'`, { failure: { code: 'error', message: 'it broke', attempt: 0 } }],
  ['failure', `'[1]'`, { failure: { code: 'error', message: '[1]', attempt: 0 } }],
  ['payload', `'1e400'`, { payload: null }],
]

async function read(path: string): Promise<{ status: number; body: unknown }> {
  const answer = await fetch(`${address}${path}`)
  return { status: answer.status, body: await answer.json() }
}

async function readSnapshot(id: string): Promise<unknown> {
  const answer = await fetch(`${address}/api/tasks/${id}/events`, { headers: { accept: 'text/event-stream' } })
  for await (const { data } of readEvents(answer)) if (data !== undefined) return JSON.parse(data)
  return undefined
}

interface Made {
  id: string
  name: string
  shown: Partial<Task>
}

/** One task for each odd value, and a healthy one between any two. */
async function makeAll(): Promise<{ odd: Made[]; healthy: string[] }> {
  const odd: Made[] = []
  const healthy: string[] = []
  for (const [column, value, shown] of ODD) {
    const [good] = await sql<{ id: string }[]>`select taskwire.create_task('demo.sleep', tags => '{odd}', run_at => now() + interval '1 day') as id`
    const [bad] = await sql<{ id: string }[]>`select taskwire.create_task('demo.sleep', tags => '{odd}', run_at => now() + interval '1 day') as id`
    await sql.unsafe(`update taskwire.tasks set ${column} = ${value} where id = '${bad?.id}'`)
    healthy.push(good?.id ?? '')
    odd.push({ id: bad?.id ?? '', name: `${column} = ${value}`, shown })
  }
  return { odd, healthy }
}

const { odd, healthy } = await makeAll()
const all = [...odd.map(({ id }) => id), ...healthy].sort()

t.test('each is read, and so are those that are read with it', async (t) => {
  const answers = await Promise.all(all.map((id) => read(`/api/tasks/${id}`)))
  for (const [index, { status, body }] of answers.entries()) {
    const made = odd.find(({ id }) => id === all[index])
    t.equal(status, 200, made?.name ?? 'healthy')
    t.ok(taskCheck.Check(body), `${made?.name}: ${JSON.stringify(taskCheck.Errors(body))}`)
    if (made) t.match(body, made.shown, made.name)
  }
})

t.test('every list that holds them is whole, in each order and page by page', async (t) => {
  for (const query of ['tag=odd', 'type=demo.sleep', 'status=SCHEDULED', 'createdBefore=9999-12-31T23:59:59.999Z&createdAfter=0001-01-01T00:00:00Z', 'createdAfter=2000-01-01T00:00:00Z', 'createdBefore=9000-01-01T00:00:00Z']) {
    const ids: string[] = []
    for (let cursor = ''; ; ) {
      const { status, body } = await read(`/api/tasks?${query}&limit=3&fields=payload${cursor}`)
      const { items, nextCursor } = body as { items: TaskSummary[]; nextCursor: string | null }
      t.equal(status, 200, query)
      for (const item of items) t.ok(summaryCheck.Check(item), JSON.stringify(item))
      ids.push(...items.map(({ id }) => id))
      if (nextCursor === null || ids.length > 2 * all.length) break
      cursor = `&cursor=${nextCursor}`
    }
    t.equal(new Set(ids).size, ids.length, `${query}: each task once`)
    if (!query.startsWith('created')) t.same(ids.sort(), all, query)
    else t.ok(healthy.every((id) => query.includes('Before') || ids.includes(id)), query)
  }
})

t.test('lists and streams that are kept current show them', async (t) => {
  for (const filter of [{ tag: 'odd' }, { createdAfter: '2000-01-01T00:00:00Z' }]) {
    const list = await watchList(t, address, { filter, limit: 200 })
    const rows = list.rows()
    t.ok(rows.length > healthy.length, JSON.stringify(filter))
    for (const row of rows) t.ok(summaryCheck.Check(row), JSON.stringify(row))
  }
  for (const { id, name, shown } of odd) t.match(await readSnapshot(id), { type: 'snapshot', task: shown }, name)
})

t.test('they are exported with the others', async (t) => {
  const db = openDatabase(app.databaseUrl)
  t.teardown(() => db.close())
  for (const format of ['csv', 'ndjson'] as const) {
    const { lines, rows } = await exportPage(DEFAULT_PRINCIPAL, db, { tag: 'odd' }, { format, afterId: null, limit: 1_000, maxBytes: 10_000_000 })
    t.equal(rows, all.length)
    t.equal(lines?.trimEnd().split('\n').length, all.length, format)
  }
})

t.test('they are cancelled, and their history is read', async (t) => {
  for (const { id, name } of odd) {
    await sql`update taskwire.transitions set edited = array['title', null, 'unknown'], at = 'infinity' where task_id = ${id}`
    t.equal((await fetch(`${address}/api/tasks/${id}/cancel`, { method: 'POST' })).status, 200, name)
    t.match(await read(`/api/tasks/${id}`), { status: 200, body: { status: 'CANCELLED' } }, name)
    t.match(await read(`/api/tasks/${id}/events`), { status: 200, body: { items: [{ version: 1, edited: ['title'], at: LAST }, { status: 'CANCELLED' }] } }, name)
  }
})
