import t from 'tap'
import { createChecker } from '../../src/definitions/schema-errors.js'
import { Readiness, TaskPage, TransitionList, TypeList } from '../../src/protocol/http.js'
import { Task } from '../../src/protocol/task.js'
import { claimAttemptsIfDue } from '../../src/store/attempts/claim.js'
import { settleAttemptsIfCurrent } from '../../src/store/attempts/settle.js'
import { startApp } from '../helpers/app.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'

const app = await startApp(t)
const db = await openTestDatabase(t, app.databaseUrl)

async function get(path: string) {
  const answer = await fetch(app.address + path)
  return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Record<string, unknown> }
}

t.test('a task is read whole, in either case of its id', async (t) => {
  const [id = ''] = await storeTasks(db, 1, { title: 'find me' })
  const { status, body } = await get(`/api/tasks/${id}`)
  t.equal(status, 200)
  t.match(body, { id, title: 'find me', status: 'PENDING' })
  t.same(createChecker(Task).check(body), [])
  t.match((await get(`/api/tasks/${id.toUpperCase()}`)).body, { id })
})

t.test('an unknown id is a 404 and a malformed one a 400, for the task and its events', async (t) => {
  for (const path of ['', '/events']) {
    t.match(await get(`/api/tasks/019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10${path}`), {
      status: 404,
      body: { code: 'task_not_found' },
    })
    t.match(await get(`/api/tasks/nonsense${path}`), {
      status: 400,
      body: { code: 'invalid_id', errors: [{ pointer: '/id' }] },
    })
  }
})

t.test('the events of a task are its transitions, oldest first', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  await claimAttemptsIfDue(db, [{ taskId, attempt: 1 }], 'w', 60_000)
  await settleAttemptsIfCurrent(db, [{ taskId, attempt: 1, outcome: 'failed', status: 'FAILED', reason: 'no luck' }])
  const { body } = await get(`/api/tasks/${taskId}/events`)
  t.same(createChecker(TransitionList).check(body), [])
  t.match(body, {
    items: [
      { version: 1, from: null, status: 'PENDING', attempt: 0 },
      { version: 2, from: 'PENDING', status: 'PROCESSING', attempt: 1 },
      { version: 3, from: 'PROCESSING', status: 'FAILED', reason: 'no luck' },
    ],
  })
})

t.test('pages cover all tasks, newest first, each once', async (t) => {
  const ids = await storeTasks(db, 25, { tags: ['paged'] })
  const seen: string[] = []
  let cursor: string | null = null
  do {
    const page: Record<string, unknown> = (
      await get(`/api/tasks?tag=paged&limit=10${cursor ? `&cursor=${cursor}` : ''}`)
    ).body
    t.same(createChecker(TaskPage).check(page), [])
    seen.push(...(page['items'] as Task[]).map((task) => task.id))
    cursor = page['nextCursor'] as string | null
  } while (cursor !== null)
  t.same(seen, ids.toReversed())
})

t.test('lists are filtered by status and type', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1, { type: 'report.generate' })
  await claimAttemptsIfDue(db, [{ taskId, attempt: 1 }], 'w', 60_000)
  const { body } = await get('/api/tasks?status=PROCESSING&type=report.generate')
  t.match(body, { items: [{ id: taskId, status: 'PROCESSING' }], nextCursor: null })
  t.match((await get('/api/tasks?status=EXPIRED')).body, { items: [], nextCursor: null })
})

t.test('invalid list parameters are named', async (t) => {
  const wrong = [
    ['status=DONE', '/status'],
    ['limit=0', '/limit'],
    ['limit=many', '/limit'],
    ['limit=201', '/limit'],
    ['limit=1.5', '/limit'],
    ['sort=up', '/sort'],
    ['tag=a%00b', '/tag'],
  ]
  for (const [query, pointer] of wrong)
    t.match(await get(`/api/tasks?${query}`), { status: 400, body: { code: 'invalid_request', errors: [{ pointer }] } })
  t.match(await get('/api/tasks?cursor=nonsense'), { status: 400, body: { code: 'invalid_cursor' } })
})

t.test('the types are listed with their schemas', async (t) => {
  const { body } = await get('/api/types')
  t.same(createChecker(TypeList).check(body), [])
  const items = body['items'] as { type: string; isDefault: boolean; payload: { type: string } }[]
  t.same(items.map((item) => item.type).sort(), [
    'demo.sleep',
    'email.send',
    'http.request',
    'image.thumbnail',
    'report.generate',
    'tasks.export',
    'webhook.deliver',
  ])
  t.same(
    items.filter((item) => item.isDefault).map((item) => item.type),
    ['demo.sleep'],
  )
  t.ok(items.every((item) => item.payload.type === 'object'))
})

t.test('health and readiness answer, and the documents describe the routes', async (t) => {
  t.match(await get('/healthz'), { status: 200, body: { status: 'ok' } })
  const ready = await get('/readyz')
  t.match(ready, {
    status: 200,
    body: { status: 'ok', checks: { postgres: { status: 'ok' }, broker: { status: 'ok' } } },
  })
  t.same(createChecker(Readiness).check(ready.body), [])
  const { body } = await get('/openapi.json')
  t.match(body, { openapi: /^3\.1/ })
  const paths = [
    '',
    '/batch',
    '/events',
    '/{id}',
    '/{id}/artifacts',
    '/{id}/artifacts/{name}',
    '/{id}/artifacts/{name}/links',
    '/{id}/attempts',
    '/{id}/cancel',
    '/{id}/events',
    '/{id}/logs',
  ].map((path) => `/api/tasks${path}`)
  t.same(Object.keys(body['paths'] as object).sort(), [
    '/api/limits',
    '/api/limits/{name}',
    '/api/pauses',
    '/api/pauses/{kind}/{name}',
    '/api/schedules',
    '/api/schedules/preview',
    '/api/schedules/{name}',
    '/api/schedules/{name}/backfill',
    '/api/schedules/{name}/pause',
    '/api/schedules/{name}/reset',
    '/api/schedules/{name}/resume',
    '/api/schedules/{name}/run',
    '/api/schedules/{name}/slots',
    '/api/sequences',
    '/api/sequences/{key}/resume',
    ...paths,
    '/api/types',
    '/api/uploads',
    '/api/weights',
    '/api/weights/key/{key}',
    '/api/weights/tenant/{tenant}',
    '/api/workers',
    '/api/workers/{id}/drain',
    '/api/workers/{id}/resume',
    '/files/{id}/{name}',
    '/healthz',
    '/readyz',
  ])
  const docs = await fetch(`${app.address}/docs`)
  t.equal(docs.status, 200)
  t.match(await docs.text(), /swagger/i)
  t.notMatch(
    docs.headers.get('content-security-policy'),
    /upgrade-insecure-requests|https:/,
    'it works over plain HTTP, too',
  )
})

t.test('the page and the client are served under a strict policy', async (t) => {
  const page = await fetch(app.address)
  t.equal(page.status, 200)
  const policy = page.headers.get('content-security-policy') ?? ''
  t.match(policy, /default-src 'none'/)
  t.notMatch(policy, /unsafe/)
  t.equal(page.headers.get('x-content-type-options'), 'nosniff')
  const client = await fetch(`${app.address}/task-stream.js`)
  t.match(client.headers.get('content-type'), /javascript/)
  t.equal((await fetch(`${app.address}/../package.json`)).status, 404)
})

t.test('while a service is away, readiness and answers say so; health does not', async (t) => {
  await app.postgres.stop()
  t.match(await get('/readyz'), { status: 503, body: { status: 'failed', checks: { postgres: { status: 'failed' } } } })
  const { status, headers, body } = await get('/api/tasks')
  t.match({ status, body }, { status: 503, body: { code: 'unavailable' } })
  t.ok(headers.get('retry-after'))
  t.match(body['fix'], /may have been stored/, 'a statement that was sent may still be carried out')
  t.notMatch(JSON.stringify(body), /ECONN|127\.0\.0\.1/)
  t.equal((await get('/healthz')).status, 200)
  await app.postgres.start()
  while ((await get('/readyz')).status !== 200);
  t.equal((await get('/api/tasks')).status, 200)
})
