import t from 'tap'
import postgres from 'postgres'
import { StartupError } from '../../src/startup-error.js'
import { assertVersion, migrateDatabase } from '../../src/db/migrate.js'
import { startPostgres } from '../helpers/services.js'

t.test('a server that is too old is one clear line', async (t) => {
  t.throws(() => assertVersion(13_0018), new StartupError('PostgreSQL 13 is too old: Taskwire needs 14 or newer. Point DATABASE_URL at one.'))
  t.doesNotThrow(() => assertVersion(14_0000))
  t.doesNotThrow(() => assertVersion(18_0001))
})

t.test('processes that migrate at once do it once, and beside what else is in the database', async (t) => {
  const server = await startPostgres(t)
  const sql = postgres(server.url, { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  await sql`create table tasks (mine text)`
  await Promise.all(Array.from({ length: 5 }, () => migrateDatabase(server.url)))
  const [row] = await sql`select (select count(*)::integer from taskwire.migrations) as done, (select count(*)::integer from taskwire.tasks) as tasks`
  t.same(row, { done: 9, tasks: 0 })
  t.same(await sql`select * from tasks`, [])
})
