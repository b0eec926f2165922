/** Lists over REST: what they match, what they contain, and what is refused. */
import t from 'tap'
import { createChecker } from '../../src/definitions/schema-errors.js'
import { PROBLEMS, type Problem } from '../../src/protocol/errors.js'
import { TaskPage } from '../../src/protocol/http.js'
import type { TaskSummary } from '../../src/protocol/task.js'
import { claimAttemptsIfDue } from '../../src/store/attempts/claim.js'
import { settleAttemptsIfCurrent } from '../../src/store/attempts/settle.js'
import { startApp } from '../helpers/app.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'

const app = await startApp(t)
const db = await openTestDatabase(t, app.databaseUrl)
const check = createChecker(TaskPage)
const MANY_BYTES = 240 * 1024

interface Page {
  items: TaskSummary[]
  nextCursor: string | null
}

async function list(query: string): Promise<Page> {
  const page = (await (await fetch(`${app.address}/api/tasks?${query}`)).json()) as Page
  t.same(check.check(page), [], query)
  return page
}

const idsOf = ({ items }: Page) => items.map(({ id }) => id)

async function listAll(query: string): Promise<Page[]> {
  const pages: Page[] = []
  let cursor: string | null = null
  do {
    const page: Page = await list(`${query}${cursor ? `&cursor=${cursor}` : ''}`)
    pages.push(page)
    cursor = page.nextCursor
  } while (cursor !== null)
  return pages
}

t.test('lists omit payloads and results unless they are requested', async (t) => {
  const [id = ''] = await storeTasks(db, 1, { tags: ['whole'], payload: { steps: 3 } })
  await claimAttemptsIfDue(db, [{ taskId: id, attempt: 1 }], 'w', 60_000)
  await settleAttemptsIfCurrent(db, [
    { taskId: id, attempt: 1, outcome: 'completed', status: 'COMPLETED', reason: null, result: { steps: 3 } },
  ])
  const [plain] = (await list('tag=whole')).items
  t.match(plain, { id, status: 'COMPLETED', title: 'a test task' })
  t.notOk(plain && ('payload' in plain || 'result' in plain))
  const both = { payload: { steps: 3 }, result: { steps: 3 } }
  t.match((await list('tag=whole&fields=payload,result')).items, [both])
  const [half] = (await list('tag=whole&fields=payload')).items
  t.same(half?.payload, both.payload)
  t.notOk(half && 'result' in half)
})

t.test('a page of large tasks is limited by its bytes, and the pages hold each task once', async (t) => {
  const ids = await storeTasks(db, 12, { tags: ['large'], payload: { text: 'x'.repeat(MANY_BYTES) } })
  const pages = await listAll('tag=large&fields=payload&limit=200')
  t.same(pages.flatMap(idsOf), ids.toReversed())
  for (const { items } of pages)
    t.ok(JSON.stringify(items).length < 1024 * 1024 + 2 * MANY_BYTES, `${items.length} tasks of a page`)
  t.ok(pages.length > 1)
  t.equal((await listAll('tag=large&limit=200')).length, 1, 'without their payloads they fit one page')
})

t.test('tasks are found by batch, parent, title and time', async (t) => {
  const [batchId, parentId] = ['019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e11', '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e12']
  const ofBatch = await storeTasks(db, 2, { more: { batchId } })
  const [child = ''] = await storeTasks(db, 1, { more: { parentId } })
  const [named = ''] = await storeTasks(db, 1, { title: 'Köln: 50 % of _all_ "reports"', tags: ['named'] })
  t.same(idsOf(await list(`batch=${batchId}`)), ofBatch.toReversed())
  t.same(idsOf(await list(`batch=${batchId.toUpperCase()}`)), ofBatch.toReversed())
  t.same(idsOf(await list(`parent=${parentId}`)), [child])
  for (const q of ['köLN', '50 %', '_ALL_', '"reports"'])
    t.same(idsOf(await list(`q=${encodeURIComponent(q)}`)), [named], q)
  t.same(idsOf(await list(`q=${encodeURIComponent('K_ln')}`)), [], 'pattern characters are matched literally')
  const [{ createdAt = '' } = {}] = (await list('tag=named')).items
  const later = new Date(Date.parse(createdAt) + 1).toISOString()
  t.same(idsOf(await list(`tag=named&createdAfter=${createdAt}&createdBefore=${later}`)), [named])
  t.same(idsOf(await list(`tag=named&createdAfter=${later}`)), [])
  t.same(idsOf(await list(`tag=named&createdBefore=${createdAt}`)), [])
  t.ok(idsOf(await list(`createdAfter=${createdAt}`)).includes(named))
  t.same(idsOf(await list('createdBefore=0000-01-01T00:00:00Z')), [])
})

t.test('pages cover a range of times, with each task once', async (t) => {
  const ids = await storeTasks(db, 25, { title: 'of a range' })
  const [{ createdAt = '' } = {}] = (await list('q=of+a+range&limit=1')).items
  const pages = await listAll(`createdAfter=${createdAt}&q=of+a+range&limit=10`)
  t.same(pages.flatMap(idsOf), ids.toReversed())
})

t.test('an edited tag is found, and the previous one is not', async (t) => {
  const [id = ''] = await storeTasks(db, 1, { tags: ['before', 'kept'] })
  const body = JSON.stringify({ tags: ['kept', 'after', 'after'] })
  t.equal(
    (
      await fetch(`${app.address}/api/tasks/${id}`, {
        method: 'PATCH',
        headers: { 'content-type': 'application/json' },
        body,
      })
    ).status,
    200,
  )
  t.same(await Promise.all(['before', 'kept', 'after'].map(async (tag) => idsOf(await list(`tag=${tag}`)))), [
    [],
    [id],
    [id],
  ])
})

t.test('a task created in SQL is found by its tag and type', async (t) => {
  const text = `select taskwire.create_task('made.in-sql', '{}', tags => '{sql}') as id`
  const [row] = await db.run<{ id: string }>({ name: 'test_create', text }, [])
  t.same(idsOf(await list('tag=sql')), [row?.id])
  t.same(idsOf(await list('type=made.in-sql')), [row?.id])
})

t.test('a filter that can never match is refused', async (t) => {
  const wrong = [
    ['status=completed', '/status', /SCHEDULED, WAITING.*COMPLETED/],
    ['status=COMPLETED&status=FAILED', '/status', /^is given more than once$/],
    ['q=a&q=a', '/q', /^is given more than once$/],
    ['limit=5&limit=5', '/limit', /^is given more than once$/],
    ['cursor=&cursor=', '/cursor', /^is given more than once$/],
    ['colour=red&colour=blue', '/colour', /^is not known here$/],
    ['type=No+Type', '/type', /demo\.sleep/],
    ['batch=7', '/batch', /./],
    ['parent=x', '/parent', /./],
    ['createdAfter=yesterday', '/createdAfter', /./],
    ['createdAfter=2026-02-30T00:00:00Z', '/createdAfter', /./],
    ['createdBefore=2026-01-01', '/createdBefore', /./],
    [
      'createdAfter=2026-01-02T00:00:00Z&createdBefore=2026-01-01T00:00:00Z',
      '/createdBefore',
      /later than createdAfter/,
    ],
    ['q=', '/q', /./],
    ['q=a%00b', '/q', /./],
    ['fields=everything', '/fields', /payload, result, payload,result/],
    ['statuses=FAILED', '/statuses', /not known/],
  ] as const
  for (const [query, pointer, detail] of wrong) {
    const answer = await fetch(`${app.address}/api/tasks?${query}`)
    t.match(
      { status: answer.status, body: await answer.json() },
      { status: 400, body: { code: 'invalid_request', errors: [{ pointer, detail }] } },
      query,
    )
  }
})

t.test('times and cursors beyond the range of PostgreSQL are refused', async (t) => {
  const { nextCursor } = await list('limit=1')
  const times = [
    '0000-01-01T00:00:00Z',
    '9999-12-31T23:59:60Z',
    '9999-12-31T23:59:59.999999999Z',
    '2026-01-01t00:00:00z',
    '2026-01-01T00:00:00%2B23:59',
    '2026-01-01T00:00:00-23:59',
    '2016-12-31T23:59:60Z',
  ]
  const queries = times.flatMap((time) => [`createdAfter=${time}`, `createdBefore=${time}`])
  const cursors = [nextCursor, 'x'.repeat(22), '_'.repeat(32), 'A'.repeat(32), ''].flatMap((cursor) => [
    `cursor=${cursor}`,
    `createdAfter=2026-01-01T00:00:00Z&cursor=${cursor}`,
  ])
  for (const query of [...queries, ...cursors]) {
    const answer = await fetch(`${app.address}/api/tasks?${query}`)
    t.ok(
      [200, 400].includes(answer.status),
      `${query}: ${answer.status} ${answer.status === 200 ? '' : await answer.text()}`,
    )
  }
  for (const cursor of cursors) {
    const { status } = await fetch(`${app.address}/api/tasks/events?tag=x&${cursor}`)
    t.ok([200, 400].includes(status), `${cursor}: ${status}`)
  }
})

t.test('OPTIONS lists the supported methods, and a wrong method is answered with them', async (t) => {
  const [id = ''] = await storeTasks(db, 1)
  const wrong = [
    ['DELETE', '/api/tasks', 'GET, HEAD, POST'],
    ['PUT', `/api/tasks/${id}`, 'GET, HEAD, PATCH'],
    ['GET', `/api/tasks/${id}/cancel`, 'POST'],
    ['POST', '/api/types', 'GET, HEAD'],
    ['PATCH', '/healthz', 'GET, HEAD'],
    ['POST', '/docs/problems', 'GET, HEAD'],
    ['POST', `/ws/tasks/${id}`, 'GET, HEAD'],
    ['DELETE', '/openapi.json', 'GET, HEAD'],
  ] as const
  for (const [method, path, allow] of wrong) {
    const answer = await fetch(app.address + path, {
      method,
      ...(method !== 'GET' && { body: '{"half', headers: { 'content-type': 'text/x-unknown' } }),
    })
    t.match(
      { status: answer.status, allow: answer.headers.get('allow')?.split(', ').sort().join(', ') },
      { status: 405, allow },
      `${method} ${path}`,
    )
    t.match(await answer.json(), { code: 'method_not_allowed', status: 405 })
    const listed = await fetch(app.address + path, { method: 'OPTIONS' })
    t.match([listed.status, listed.headers.get('allow')?.split(', ').sort().join(', ')], [204, allow], path)
  }
  t.equal((await fetch(`${app.address}/api/nothing`, { method: 'OPTIONS' })).status, 404)
  t.equal((await fetch(`${app.address}/api/nothing`, { method: 'POST' })).status, 404)
})

t.test('the type of a problem points to a page that explains it', async (t) => {
  const problem = (await (await fetch(`${app.address}/api/tasks/nonsense`)).json()) as Problem
  const url = new URL(problem.type, app.address)
  const answer = await fetch(url)
  t.match(answer.headers.get('content-type'), 'text/html')
  const page = await answer.text()
  t.ok(page.includes(`id="${url.hash.slice(1)}"`))
  for (const [code, { title }] of Object.entries(PROBLEMS)) {
    t.ok(page.includes(`id="${code}"`), code)
    t.ok(page.includes(title.replaceAll('"', '&quot;')), code)
  }
})
