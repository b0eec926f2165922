/**
 * Rows that no statement of Taskwire writes, but that SQL at a console or an older version may have written: each is
 * shown, and breaks no other.
 */
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

/** A column, the value that SQL writes, and the value that the API shows. */
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
  ...[
    '"half"',
    '[]',
    '{}',
    '7',
    'true',
    '{"fraction": "x", "done": 1, "total": null, "message": null, "at": "2026-01-01T00:00:00Z"}',
  ].map((json): (typeof ODD)[number] => ['progress', `'${json}'`, { progress: null }]),
  ['progress', `to_jsonb(repeat('x', 10000))`, { progress: null }],
  ['progress', `(select jsonb_agg(n) from generate_series(1, 5000) n)`, { progress: null }],
  ['failure', `'"it broke"'`, { failure: { code: 'error', message: 'it broke', attempt: 0 } }],
  ['failure', `'{"message": "it broke"}'`, { failure: { code: 'error', message: 'it broke', attempt: 0 } }],
  ['failure', `'[1]'`, { failure: { code: 'error', message: '[1]', attempt: 0 } }],
  [
    'failure',
    `'{"message": 5, "why": ["a, b", {"c": null}]}'`,
    { failure: { code: 'error', message: '{"why":["a, b",{"c":null}],"message":5}', attempt: 0 } },
  ],
  [
    'failure',
    `'{"code": "x", "message": "y", "attempt": "1"}'`,
    { failure: { code: 'error', message: 'y', attempt: 0 } },
  ],
  [
    'failure',
    `'{"code": "x", "message": "y", "attempt": 1e400}'`,
    { failure: { code: 'error', message: 'y', attempt: 0 } },
  ],
  [
    'failure',
    `'{"code": "permanent", "message": "y", "attempt": 2}'`,
    { failure: { code: 'permanent', message: 'y', attempt: 2 } },
  ],
  [
    'failure',
    `to_jsonb(repeat('long', 1000))`,
    { failure: { code: 'error', message: 'long'.repeat(250), attempt: 0 } },
  ],
  ['failure', `'null'`, { failure: null }],
  ['payload', `'1e400'`, { payload: null }],
  [
    'payload',
    `'{"big": [1e400, -1e999, 1e300, 1.5], "text": "1e400 \\" 5", "no": false}'`,
    { payload: { big: [null, null, 1e300, 1.5], text: '1e400 " 5', no: false } },
  ],
  ['payload', `jsonb_build_object('text', repeat('5', 400))`, { payload: { text: '5'.repeat(400) } }],
  ['result', `'[12345678901234567890, 1e400]'`, { result: [12345678901234567000, null] }],
]

async function read(path: string): Promise<{ status: number; body: unknown }> {
  const answer = await fetch(`${address}${path}`)
  return { status: answer.status, body: await answer.json() }
}

async function readState(id: string): Promise<{ etag: string; version: number }> {
  const answer = await fetch(`${address}/api/tasks/${id}`)
  return { etag: answer.headers.get('etag') ?? '', version: ((await answer.json()) as Task).version }
}

async function edit(id: string, change: object, etag: string): Promise<{ status: number; body: unknown }> {
  const headers = { 'content-type': 'application/json', 'if-match': etag }
  const answer = await fetch(`${address}/api/tasks/${id}`, { method: 'PATCH', headers, body: JSON.stringify(change) })
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

/** Creates one task for each odd value, each after a healthy one. */
async function makeAll(): Promise<{ odd: Made[]; healthy: string[] }> {
  const odd: Made[] = []
  const healthy: string[] = []
  for (const [column, value, shown] of ODD) {
    const [good] = await sql<
      { id: string }[]
    >`select taskwire.create_task('demo.sleep', tags => '{odd}', run_at => now() + interval '1 day') as id`
    const [bad] = await sql<
      { id: string }[]
    >`select taskwire.create_task('demo.sleep', tags => '{odd}', run_at => now() + interval '1 day') as id`
    await sql.unsafe(`update taskwire.tasks set ${column} = ${value} where id = '${bad?.id}'`)
    healthy.push(good?.id ?? '')
    odd.push({ id: bad?.id ?? '', name: `${column} = ${value}`, shown })
  }
  return { odd, healthy }
}

const { odd, healthy } = await makeAll()
const all = [...odd.map(({ id }) => id), ...healthy].sort()

t.test('each is read, and so are tasks read together with it', async (t) => {
  const answers = await Promise.all(all.map((id) => read(`/api/tasks/${id}`)))
  for (const [index, { status, body }] of answers.entries()) {
    const made = odd.find(({ id }) => id === all[index])
    t.equal(status, 200, made?.name ?? 'healthy')
    t.ok(taskCheck.Check(body), `${made?.name}: ${JSON.stringify(taskCheck.Errors(body))}`)
    if (made) t.match(body, made.shown, made.name)
  }
})

t.test('every list with them is complete, in each order and page by page', async (t) => {
  for (const query of [
    'tag=odd',
    'type=demo.sleep',
    'status=SCHEDULED',
    'createdBefore=9999-12-31T23:59:59.999Z&createdAfter=0001-01-01T00:00:00Z',
    'createdAfter=2000-01-01T00:00:00Z',
    'createdBefore=9000-01-01T00:00:00Z',
  ]) {
    const ids: string[] = []
    for (let cursor = ''; ;) {
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
    else
      t.ok(
        healthy.every((id) => query.includes('Before') || ids.includes(id)),
        query,
      )
  }
})

t.test('live lists and streams show them', async (t) => {
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
    const { lines, rows } = await exportPage(
      DEFAULT_PRINCIPAL,
      db,
      { tag: 'odd' },
      { format, afterId: null, limit: 1_000, maxBytes: 10_000_000 },
    )
    t.equal(rows, all.length)
    const written = lines?.trimEnd().split('\n') ?? []
    t.equal(written.length, all.length, format)
    if (format === 'csv') continue
    for (const line of written) {
      const exported = JSON.parse(line) as Task
      const { body } = await read(`/api/tasks/${exported.id}`)
      const shown = Object.entries(body as Task).filter(([field]) => field in exported)
      t.same(
        exported,
        Object.fromEntries(shown),
        `${odd.find(({ id }) => id === exported.id)?.name}: each field as it is shown elsewhere`,
      )
    }
  }
})

t.test('each can be edited in the state that was read, field by field, and each edit changes that state', async (t) => {
  for (const { id, name } of odd) {
    for (const change of [
      { title: 'edited' },
      { priority: 3 },
      { tags: ['odd', 'edited'] },
      { payload: { steps: 2 } },
      { expiresAt: null },
    ]) {
      const { etag } = await readState(id)
      const answer = await edit(id, change, etag)
      if (name.startsWith('payload') && !('payload' in change) && answer.status !== 200) {
        t.match(
          answer,
          { status: 422, body: { code: 'invalid_payload', errors: [{ pointer: '/payload' }] } },
          'an invalid payload must be corrected first',
        )
        continue
      }
      t.match(
        answer,
        { status: 200, body: change },
        `${name}, ${Object.keys(change).join()}: ${JSON.stringify(answer.body)}`,
      )
      const now = await readState(id)
      if (now.etag === etag) t.same(now.version, (answer.body as Task).version, `${name}: the value was unchanged`)
      else t.match(await edit(id, { title: 'late' }, etag), { status: 412, body: { code: 'version_mismatch' } }, name)
    }
    const { etag } = await readState(id)
    t.match(
      await edit(id, { runAt: '2999-01-01T00:00:00.000Z' }, etag),
      { status: 200, body: { runAt: '2999-01-01T00:00:00.000Z' } },
      name,
    )
  }
})

t.test('they are cancelled, and their history is read', async (t) => {
  for (const { id, name } of odd) {
    await sql`update taskwire.transitions set edited = array['title', null, 'unknown'], at = 'infinity' where task_id = ${id}`
    t.equal((await fetch(`${address}/api/tasks/${id}/cancel`, { method: 'POST' })).status, 200, name)
    t.match(await read(`/api/tasks/${id}`), { status: 200, body: { status: 'CANCELLED' } }, name)
    t.match(
      await read(`/api/tasks/${id}/events`),
      { status: 200, body: { items: [{ version: 1, edited: ['title'], at: LAST }] } },
      name,
    )
  }
})
