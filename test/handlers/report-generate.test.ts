import pg from 'pg'
import t from 'tap'
import { Value } from 'typebox/value'
import { v7 as createId } from 'uuid'
import { openDatabase } from '../../src/db/open.js'
import { tasks } from '../../src/db/schema.js'
import { wrapPool } from '../../src/db/wrap-pool.js'
import { reportGenerate } from '../../src/handlers/report-generate.js'
import type { Status } from '../../src/protocol/status.js'
import type { Failure } from '../../src/protocol/task.js'
import { startPostgres } from '../helpers/services.js'
import { createContext } from './context.js'

const { url } = await startPostgres(t)
const db = openDatabase(url)
t.teardown(() => db.close())

const DAY = '2026-03-01'
const from = `${DAY}T00:00:00.000Z`
const to = '2026-03-02T00:00:00.000Z'

interface Row {
  status: Status
  type?: string
  createdAt: Date
  startedAt?: Date
  finishedAt?: Date
  runAt?: Date
  failure?: Failure
}

t.test('it counts by status and type, and measures run and wait times', async (t) => {
  const tenant = await insert([
    // Runs of 100, 200, …, 1,000 ms, each after a wait of 10 ms.
    ...Array.from({ length: 10 }, (_, index) => ended('COMPLETED', { waitMs: 10, runMs: (index + 1) * 100 })),
    ended('FAILED', { waitMs: 30, runMs: 2000, failure: 'boom' }),
    { status: 'PENDING', createdAt: at(0) },
    { status: 'PROCESSING', createdAt: at(0), startedAt: at(500), type: 'demo.other' },
    { status: 'EXPIRED', createdAt: at(0), finishedAt: at(900), type: 'demo.never' },
  ])
  const { context, progress } = createContext({ db, tenant })
  const report = await reportGenerate.run({ from, to }, context)

  t.ok(Value.Check(reportGenerate.result, report), 'the result fits its schema')
  t.strictSame(report.period, { from, to })
  t.equal(report.total, 14)
  t.strictSame(report.byStatus, {
    SCHEDULED: 0,
    WAITING: 0,
    PENDING: 1,
    PROCESSING: 1,
    RETRYING: 0,
    CANCELLING: 0,
    COMPLETED: 10,
    FAILED: 1,
    CANCELLED: 0,
    EXPIRED: 1,
  })
  t.strictSame(report.byType, [
    { type: 'demo.never', total: 1, completed: 0, failed: 0, durationMs: null, waitMs: null },
    {
      type: 'demo.other',
      total: 1,
      completed: 0,
      failed: 0,
      durationMs: null,
      waitMs: { p50: 500, p95: 500, max: 500 },
    },
    {
      type: 'demo.work',
      total: 12,
      completed: 10,
      failed: 1,
      // Of 100, 200, … 1,000 and 2,000 ms: p50 is the sixth value, p95 lies half-way between the last two, and max is
      // the last.
      durationMs: { p50: 600, p95: 1500, max: 2000 },
      waitMs: { p50: 10, p95: 20, max: 30 },
    },
  ])
  t.strictSame(
    progress.map(({ done, total }) => `${done}/${total}`),
    ['1/4', '2/4', '3/4', '4/4'],
  )
})

t.test('the wait of a task with a run time begins at that time', async (t) => {
  const tenant = await insert([
    { status: 'PROCESSING', createdAt: at(0), runAt: at(60_000), startedAt: at(60_040) },
    {
      status: 'RETRYING',
      type: 'demo.retry',
      createdAt: at(0),
      runAt: at(60_000),
      startedAt: at(25),
      finishedAt: at(30),
    },
  ])
  const { byType } = await reportGenerate.run({ from, to }, createContext({ db, tenant }).context)
  t.match(byType, [
    { type: 'demo.retry', waitMs: { max: 25 } },
    { type: 'demo.work', waitMs: { max: 40 } },
  ])
})

t.test('failures are grouped by message and type, the most frequent first, twenty at most', async (t) => {
  const failed = (message: string, runMs: number, type?: string) =>
    ended('FAILED', { waitMs: 0, runMs, failure: message, type })
  const rows = [
    failed('disk full', 10),
    failed('disk full', 30),
    failed('disk full', 20),
    failed('disk full', 5, 'demo.other'),
    { status: 'FAILED', createdAt: at(0), finishedAt: at(40) } as const,
    failed('x'.repeat(2000), 50),
    ...Array.from({ length: 30 }, (_, index) => failed(`rare ${index}`, 1)),
  ]
  const tenant = await insert(rows)
  const { failures } = await reportGenerate.run({ from, to }, createContext({ db, tenant }).context)
  t.equal(failures.length, 20)
  t.match(failures.slice(0, 4), [
    { message: 'disk full', type: 'demo.work', count: 3, lastAt: at(30).toISOString() },
    { message: 'x'.repeat(500), count: 1, lastAt: at(50).toISOString() },
    { message: 'no message', count: 1, lastAt: at(40).toISOString() },
    { message: 'disk full', type: 'demo.other', count: 1, lastAt: at(5).toISOString() },
  ])
  const [latest] = await db.orm.query.tasks.findMany({
    where: (task, { and, eq }) => and(eq(task.tenant, tenant), eq(task.type, 'demo.work'), eq(task.finishedAt, at(30))),
  })
  t.equal(failures[0]?.exampleTaskId, latest?.id, 'the example is the latest')
})

t.test('it sees only its own tenant, its period (end excluded) and the requested type', async (t) => {
  const tenant = await insert([
    { status: 'PENDING', createdAt: new Date(from) },
    { status: 'PENDING', createdAt: new Date(to), type: 'demo.late' },
    { status: 'PENDING', createdAt: new Date(Date.parse(from) - 1), type: 'demo.early' },
    { status: 'PENDING', createdAt: new Date(Date.parse(to) - 1), type: 'demo.other' },
  ])
  await insert([{ status: 'PENDING', createdAt: at(0) }])
  const { context } = createContext({ db, tenant })
  const all = await reportGenerate.run({ from, to }, context)
  t.equal(all.total, 2)
  t.strictSame(
    all.byType.map(({ type }) => type),
    ['demo.other', 'demo.work'],
  )
  const one = await reportGenerate.run({ from, to, type: 'demo.other' }, context)
  t.equal(one.total, 1)
  t.strictSame(
    one.byType.map(({ type }) => type),
    ['demo.other'],
  )
  const zoned = await reportGenerate.run({ from: '2026-03-01T02:00:00+02:00', to }, context)
  t.strictSame(zoned.period, all.period, 'times with an offset are understood')
})

t.test('without a period it covers the last 24 hours of the database clock', async (t) => {
  const [clock] = await db.run<{ now: Date }>({ name: 'test_now', text: 'select now() as now' }, [])
  const now = clock?.now.getTime() ?? 0
  const tenant = await insert([
    { status: 'PENDING', createdAt: new Date(now - 1000) },
    { status: 'PENDING', createdAt: new Date(now - 23 * 3_600_000) },
    { status: 'PENDING', createdAt: new Date(now - 25 * 3_600_000) },
  ])
  const report = await reportGenerate.run({}, createContext({ db, tenant }).context)
  t.equal(report.total, 2)
  t.equal(Date.parse(report.period.to) - Date.parse(report.period.from), 24 * 3_600_000)
  t.equal(report.period.to, report.generatedAt)
  const past = await reportGenerate.run({ to: from }, createContext({ db, tenant }).context)
  t.strictSame(past.period, { from: '2026-02-28T00:00:00.000Z', to: from }, 'from is a day before to')
})

t.test('both drivers give the same report', async (t) => {
  const pool = new pg.Pool({ connectionString: url, max: 1 })
  t.teardown(() => pool.end())
  const tenant = await insert([
    ended('FAILED', { waitMs: 5, runMs: 50, failure: 'boom' }),
    ended('COMPLETED', { waitMs: 5, runMs: 60 }),
  ])
  const [one, other] = [db, wrapPool(pool)].map((db) =>
    reportGenerate.run({ from, to }, createContext({ db, tenant }).context),
  )
  t.strictSame({ ...(await one), generatedAt: '' }, { ...(await other), generatedAt: '' })
})

t.test('an empty database gives a report of zeros', async (t) => {
  const report = await reportGenerate.run({ from, to }, createContext({ db, tenant: 'nobody' }).context)
  t.match(report, { total: 0, byType: [], failures: [] })
  t.ok(Value.Check(reportGenerate.result, report))
})

t.test('an empty period is refused, and both ends are named', async (t) => {
  const { context } = createContext({ db })
  await t.rejects(reportGenerate.run({ from: to, to: from }, context), {
    name: 'PermanentFailure',
    message: `the period is empty: from (${to}) must be before to (${from}). If omitted, to is now and from is 24 hours before to.`,
  })
  await t.rejects(reportGenerate.run({ from, to: from }, context), { message: /the period is empty/ })
  await t.rejects(reportGenerate.run({ from: '9999-01-01T00:00:00Z' }, context), { message: /the period is empty/ })
})

t.test('it ends between sections when its signal aborts', async (t) => {
  const controller = new AbortController()
  const { context } = createContext({ db, signal: controller.signal })
  const reason = new Error('the worker stops')
  const stopping = { ...context, db, progress: () => controller.abort(reason) }
  t.equal(await reportGenerate.run({ from, to }, stopping).catch((error: unknown) => error), reason)
})

function at(milliseconds: number): Date {
  return new Date(Date.parse(`${DAY}T12:00:00Z`) + milliseconds)
}

interface Ended {
  waitMs: number
  runMs: number
  failure?: string
  type?: string | undefined
}

function ended(status: Status, { waitMs, runMs, failure, type }: Ended): Row {
  return {
    status,
    ...(type === undefined ? {} : { type }),
    createdAt: at(-waitMs),
    startedAt: at(0),
    finishedAt: at(runMs),
    ...(failure === undefined ? {} : { failure: { code: 'error', message: failure, attempt: 1 } }),
  }
}

/** Stores tasks under a tenant of their own, and returns the name of the tenant. */
async function insert(rows: readonly Row[]): Promise<string> {
  const tenant = `tenant-${createId()}`
  const values = rows.map((row) => ({
    id: createId(),
    tenant,
    type: 'demo.work',
    title: 'a test',
    payload: {},
    ...row,
  }))
  await db.orm.insert(tasks).values(values)
  return tenant
}
