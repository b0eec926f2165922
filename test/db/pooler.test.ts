/**
 * A pooler that shares sessions between clients is refused at once, with a one-line error, and leaves nothing behind.
 */
import postgres from 'postgres'
import t from 'tap'
import { countMissingMigrations, migrateDatabase } from '../../src/db/migrate.js'
import { examine } from '../../src/doctor/doctor.js'
import { hasPgBouncer, startPgBouncer } from '../helpers/pgbouncer.js'
import { makeWorkingFolder, oneLine, spawnStart, spawnTaskwire } from '../helpers/processes.js'
import { startPostgres } from '../helpers/services.js'

const REFUSED =
  /^(taskwire: )?DATABASE_URL leads through a connection pooler \(127\.0\.0\.1:\d+\/\w+\) .*as PgBouncer does in transaction mode\. Point it at PostgreSQL itself; Taskwire has its own connection pools\.$/

if (!(await hasPgBouncer())) t.comment('no pgbouncer on this machine: the tests of poolers are skipped')
else {
  const server = await startPostgres(t)

  t.test('a pooler in transaction mode, or one that drops settings, is refused, and holds no lock', async (t) => {
    for (const options of [
      { mode: 'transaction', ignoredParameters: '' },
      { mode: 'transaction', ignoredParameters: 'options' },
      { mode: 'session', ignoredParameters: '' },
      { mode: 'session', ignoredParameters: 'options' },
    ] as const) {
      const pooled = await startPgBouncer(t, server.url, options)
      const name = JSON.stringify(options)
      await t.rejects(migrateDatabase(pooled), { name: 'PooledConnectionError', message: REFUSED }, name)
      await t.rejects(countMissingMigrations(pooled), { name: 'PooledConnectionError' }, name)
    }
    const sql = postgres(server.url, { max: 1 })
    t.same([...(await sql`select * from pg_locks where locktype = 'advisory'`)], [])
    await sql.end()
    await migrateDatabase(server.url, { lockWaitMs: 1_000 })
  })

  t.test('shared sessions are detected even where the settings are applied by other means', async (t) => {
    // The role has the settings, so that only the shared sessions give the pooler away.
    const admin = postgres(server.adminUrl, { max: 1 })
    for (const setting of ['enable_seqscan', 'jit']) await admin.unsafe(`alter role taskwire set ${setting} = off`)
    t.teardown(async () => {
      await admin.unsafe('alter role taskwire reset all')
      await admin.end()
    })
    const shared = await startPgBouncer(t, server.url, { mode: 'transaction', ignoredParameters: 'options' })
    await t.rejects(countMissingMigrations(shared), { message: REFUSED })
    const apart = await startPgBouncer(t, server.url, { mode: 'session', ignoredParameters: 'options' })
    t.equal(await countMissingMigrations(apart), 0)
  })

  t.test('each command reports a pooler and exits, instead of being ready and failing later', async (t) => {
    const pooled = await startPgBouncer(t, server.url, { mode: 'transaction', ignoredParameters: 'options' })
    const env = { DATABASE_URL: pooled, PORT: '0' }
    const cwd = await makeWorkingFolder(t)
    for (const command of ['migrate', 'web', 'worker', 'relay']) {
      const run = spawnTaskwire(t, [command], { env, cwd })
      t.strictSame(await run.exited, { code: 1, signal: null }, command)
      t.match(oneLine(run.stderr()), REFUSED, command)
    }
    const start = spawnStart(t, cwd, { env })
    t.strictSame(await start.exited, { code: 1, signal: null })
    t.match(oneLine(start.stderr()), REFUSED)
    t.notMatch(start.stdout(), 'is ready')
    t.match(await examine({ databaseUrl: pooled, shouldFix: false }), [{ state: 'bad', text: REFUSED }])
  })
}
