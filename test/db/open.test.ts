import t from 'tap'
import { openDatabase } from '../../src/db/open.js'
import { startPostgres } from '../helpers/services.js'

const server = await startPostgres(t)

t.test('a statement uses the deadline of its client, or its own', async (t) => {
  const db = openDatabase(server.url, { deadlineMs: 200, maxConnections: 1 })
  t.teardown(() => db.close())
  const sleep = (name: string, deadlineMs?: number) =>
    db.run<{ done: number }>(
      { name, text: 'select 1 as done from pg_sleep(0.6)', ...(deadlineMs && { deadlineMs }) },
      [],
    )
  await t.rejects(sleep('test_short'), {
    name: 'StatementTimeoutError',
    message: 'PostgreSQL did not answer the statement test_short within 200 ms',
  })
  t.same([...(await sleep('test_long', 60_000))], [{ done: 1 }], 'on a new connection')
  await t.rejects(sleep('test_own', 100), { message: 'PostgreSQL did not answer the statement test_own within 100 ms' })
})

t.test('a statement with a custom plan leaves no prepared plan behind', async (t) => {
  const db = openDatabase(server.url, { maxConnections: 1 })
  t.teardown(() => db.close())
  await db.run({ name: 'test_kept', text: 'select $1::text as kept' }, ['a'])
  await db.run({ name: 'test_anew', text: 'select $1::text as anew', forceCustomPlan: true }, ['a'])
  const plans = await db.run<{ statement: string }>(
    {
      name: 'test_plans',
      text: "select statement from pg_prepared_statements where statement like 'select $1::text as%'",
    },
    [],
  )
  t.same(
    plans.map(({ statement }) => statement),
    ['select $1::text as kept'],
  )
})
