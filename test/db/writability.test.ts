/**
 * Databases that accept no writes, or no safe ones: each command reports it in one line at its start, and so does the
 * doctor.
 */
import { chown, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import t, { type Test } from 'tap'
import { migrateBroker } from '../../src/broker/open-broker.js'
import { countMissingMigrations, migrateDatabase } from '../../src/db/migrate.js'
import { openDatabase } from '../../src/db/open.js'
import { UnfitDatabaseError } from '../../src/db/writability.js'
import { examine } from '../../src/doctor/doctor.js'
import { spawnTaskwire } from '../helpers/processes.js'
import { startPostgres } from '../helpers/services.js'

const postgres = await startPostgres(t)
await migrateBroker(postgres.url)
const database = new URL(postgres.url).pathname.slice(1)

/** Runs statements as the superuser, in the test database. */
async function administer(...statements: string[]): Promise<void> {
  const admin = new pg.Client({ connectionString: postgres.adminUrl, options: '-c default_transaction_read_only=off' })
  await admin.connect()
  try {
    for (const statement of statements) await admin.query(statement)
  } finally {
    await admin.end()
  }
}

/** Faults: the statements that cause and undo each, and the message that reports it. */
const FAULTS: Record<string, { make: string[]; undo: string[]; says: RegExp; url?: string }> = {
  'default_transaction_read_only of the database': {
    make: [`alter database ${database} set default_transaction_read_only = on`],
    undo: [`alter database ${database} reset default_transaction_read_only`],
    says: /default_transaction_read_only is on.*alter database taskwire reset default_transaction_read_only.*%3Doff/,
  },
  'default_transaction_read_only of the role': {
    make: ['alter role taskwire set default_transaction_read_only = on'],
    undo: ['alter role taskwire reset default_transaction_read_only'],
    says: /alter role taskwire reset default_transaction_read_only/,
  },
  session_replication_role: {
    make: [`alter database ${database} set session_replication_role = replica`],
    undo: [`alter database ${database} reset session_replication_role`],
    says: /session_replication_role is replica, so that the triggers .* do not run.*reset session_replication_role/,
  },
  'synchronous_commit in the URL': {
    make: [],
    undo: [],
    url: `${postgres.url}?options=-c%20synchronous_commit%3Doff`,
    says: /synchronous_commit is off in DATABASE_URL/,
  },
  'rights to one table': {
    make: [
      'create role reader login password $$reader$$',
      'grant usage on schema taskwire to reader',
      'grant select, insert, update, delete on all tables in schema taskwire to reader',
      'revoke insert on taskwire.transitions from reader',
      'revoke update, delete on taskwire.leases from reader',
    ],
    undo: ['drop owned by reader', 'drop role reader'],
    url: postgres.url.replace(/\/\/[^@]*@/, '//reader:reader@'),
    says: /the role reader lacks rights .*: leases \(delete, update\), transitions \(insert\)\. .*grant select, insert, update, delete/,
  },
  'no right to the schema': {
    make: ['create role "Odd one" login password $$reader$$'],
    undo: ['drop role "Odd one"'],
    url: postgres.url.replace(/\/\/[^@]*@/, '//Odd%20one:reader@'),
    says: /grant usage on schema taskwire to "Odd one"/,
  },
  'row-level security': {
    make: [
      'alter table taskwire.tasks enable row level security',
      'alter table taskwire.tasks force row level security',
    ],
    undo: [
      'alter table taskwire.tasks no force row level security',
      'alter table taskwire.tasks disable row level security',
    ],
    says: /row-level security hides rows from the role taskwire .*: tasks\./,
  },
  'a trigger': {
    make: ['alter table taskwire.tasks disable trigger user'],
    undo: ['alter table taskwire.tasks enable trigger user'],
    says: /triggers .* are switched off: tasks\.\w+, .*enable trigger/,
  },
}

async function assertRefused(t: Test, databaseUrl: string, says: RegExp): Promise<void> {
  await t.rejects(countMissingMigrations(databaseUrl), { name: 'UnfitDatabaseError', message: says })
  await t.rejects(migrateDatabase(databaseUrl), UnfitDatabaseError)
  t.match(await examine({ databaseUrl, shouldFix: true }).then(([first]) => first), { state: 'bad', text: says })
}

for (const [name, { make, undo, says, url = postgres.url }] of Object.entries(FAULTS)) {
  t.test(`${name}: refused, and accepted again once it is undone`, async (t) => {
    await administer(...make)
    try {
      await assertRefused(t, url, says)
    } finally {
      await administer(...undo)
    }
    t.equal(await countMissingMigrations(postgres.url), 0)
  })
}

t.test('each role reports an unfit database in one line and ends', async (t) => {
  await administer(`alter database ${database} set session_replication_role = replica`)
  for (const role of ['web', 'worker', 'relay', 'migrate']) {
    const taskwire = spawnTaskwire(t, [role], {
      env: { DATABASE_URL: postgres.url, REDIS_URL: 'redis://127.0.0.1:1', PORT: '0' },
    })
    await taskwire.waitFor(/session_replication_role is replica/)
    t.not(await taskwire.exited, 0, role)
  }
  await administer(`alter database ${database} reset session_replication_role`)
})

t.test('a read-only default yields to the URL, and an asynchronous commit yields to our setting', async (t) => {
  await administer(
    `alter database ${database} set default_transaction_read_only = on`,
    `alter database ${database} set synchronous_commit = off`,
  )
  const url = `${postgres.url}?options=-c%20default_transaction_read_only%3Doff`
  t.equal(await countMissingMigrations(url), 0)
  const db = openDatabase(url)
  t.teardown(() => db.close())
  t.same(await db.run({ name: 'test_commit', text: `select current_setting('synchronous_commit') as commit` }, []), [
    { commit: 'on' },
  ])
  const chosen = openDatabase(`${url}%20-c%20synchronous_commit%3Dremote_apply`)
  t.teardown(() => chosen.close())
  t.same(
    await chosen.run({ name: 'test_commit', text: `select current_setting('synchronous_commit') as commit` }, []),
    [{ commit: 'remote_apply' }],
  )
  await administer(`alter database ${database} reset all`)
})

t.test('a standby is refused', async (t) => {
  const admin = new pg.Client({ connectionString: postgres.adminUrl })
  await admin.connect()
  const { rows } = await admin.query<{ data_directory: string }>('show data_directory')
  await admin.end()
  const folder = rows[0]?.data_directory ?? ''
  await postgres.stop()
  const signal = join(folder, 'standby.signal')
  await writeFile(signal, '')
  const { uid, gid } = await stat(folder)
  await chown(signal, uid, gid)
  await postgres.start()
  await assertRefused(
    t,
    postgres.url,
    /is a standby \(a read replica\), which takes no writes\. Point DATABASE_URL at the primary/,
  )
})
