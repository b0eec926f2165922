/**
 * Defaults of a server, a database or a role that change how values are read, when statements end, and which rows they
 * see.
 */
import pg from 'pg'
import t, { type Test } from 'tap'
import type { TransitionList } from '../../src/protocol/http.js'
import type { Task } from '../../src/protocol/task.js'
import { startApp, startWebBeside } from '../helpers/app.js'
import { openTestDatabase } from '../helpers/database.js'
import { watch } from '../helpers/watch.js'

const SETTINGS: Record<string, readonly string[]> = {
  DateStyle: [`'SQL, DMY'`, `'German'`, `'Postgres, MDY'`],
  IntervalStyle: [`'sql_standard'`],
  extra_float_digits: ['-15'],
  bytea_output: [`'escape'`],
  TimeZone: [`'Asia/Kathmandu'`],
  standard_conforming_strings: ['off'],
  array_nulls: ['off'],
  transform_null_equals: ['on'],
  default_transaction_isolation: [`'serializable'`, `'repeatable read'`],
  default_transaction_deferrable: ['on'],
  statement_timeout: ['1'],
  lock_timeout: ['1'],
  idle_session_timeout: ['1'],
  search_path: [`'nowhere'`],
  row_security: ['off'],
  synchronous_commit: ['off', 'local'],
  quote_all_identifiers: ['on'],
  enable_indexscan: ['off'],
  plan_cache_mode: [`'force_generic_plan'`, `'force_custom_plan'`],
  work_mem: [`'64kB'`],
  client_encoding: [`'LATIN1'`],
  lc_numeric: [`'C'`],
}

const app = await startApp(t)
const admin = new pg.Client({
  connectionString: app.postgres.adminUrl,
  options: '-c statement_timeout=0 -c client_encoding=UTF8',
})
await admin.connect()
t.teardown(() => admin.end())

/** Runs a task through web, worker and relay on connections with this default. */
async function workUnder(t: Test, setting: string, value: string): Promise<void> {
  const name = new URL(app.databaseUrl).pathname.slice(1)
  await admin.query(`alter database ${name} set ${setting} = ${value}`)
  t.teardown(() => admin.query(`alter database ${name} reset ${setting}`))
  const address = await startWebBeside(t, app, {})
  const db = await openTestDatabase(t, app.databaseUrl)
  const [shown] = await db.run<{ setting: string }>(
    { name: 'test_setting', text: `select current_setting('is_superuser') as setting`, forceCustomPlan: true },
    [],
  )
  t.equal(shown?.setting, 'off')
  const send = async <Body>(method: string, path: string, body?: object, headers: Record<string, string> = {}) => {
    const answer = await fetch(address + path, {
      method,
      headers: { ...(body && { 'content-type': 'application/json' }), ...headers },
      ...(body && { body: JSON.stringify(body) }),
    })
    return { status: answer.status, etag: answer.headers.get('etag') ?? '', body: (await answer.json()) as Body }
  }
  const title = `ümlaut "quoted" \\ back 日本 ${setting}`
  const runAt = new Date(Date.now() + 20 * 86_400_000).toISOString()
  const created = await send<Task>('POST', '/api/tasks', {
    title,
    tags: ['a b', 'NULL', '"', '\\'],
    runAt,
    payload: { steps: 3, stepMs: 10 },
  })
  t.match(created, { status: 202, body: { status: 'SCHEDULED', runAt } })
  const { id } = created.body
  const watcher = watch(address, `/ws/tasks/${id}`)
  await watcher.until(({ type }) => type === 'snapshot')
  const { etag } = await send('GET', `/api/tasks/${id}`)
  t.match(await send('PATCH', `/api/tasks/${id}`, { priority: 7 }, { 'if-match': etag }), {
    status: 200,
    body: { priority: 7, version: 2, runAt, title, tags: ['a b', 'NULL', '"', '\\'] },
  })
  t.match(await send('GET', `/api/tasks?tag=NULL&limit=1`), { status: 200, body: { items: [{ id, title }] } })
  t.match(await send('POST', `/api/tasks/${id}/cancel`), { status: 200 })
  const { messages } = await watcher.closed
  t.same(
    messages.filter(({ type }) => type !== 'waiting').map(({ version }) => version),
    [1, 2, 3],
  )
  const { items } = (await send<TransitionList>('GET', `/api/tasks/${id}/events`)).body
  t.ok(
    items.every(({ at }: { at: string }) => Math.abs(Date.parse(at) - Date.now()) < 3_600_000 && at.endsWith('Z')),
    JSON.stringify(items),
  )
}

for (const [setting, values] of Object.entries(SETTINGS)) {
  for (const value of values) t.test(`${setting} = ${value}`, (t) => workUnder(t, setting, value))
}
