import { readFileSync } from 'node:fs'
import t from 'tap'
import { guardSql } from '../../src/db/guard.js'
import { canMove, IDLE_STATUSES, STATUSES } from '../../src/protocol/status.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const server = await startPostgres(t)

t.test('the migration contains the guard generated from the table of transitions', async (t) => {
  const migration = readFileSync(new URL('../../drizzle/0013_edits.sql', import.meta.url), 'utf8')
  t.ok(migration.includes(guardSql()), 'a change of the table needs a migration with the new guard')
})

t.test('the database allows exactly the transitions of the table', async (t) => {
  // Only a superuser may disable triggers.
  const db = await openTestDatabase(t, server.adminUrl)
  const [id = ''] = await storeTasks(db, 1)
  const place = {
    name: 'test_place',
    // Bypasses the guard to put the task into the initial status of the move.
    text: `with off as (select set_config('session_replication_role', 'replica', true)) update taskwire.tasks set status = $2, version = 1 from off where id = $1::text::uuid`,
  }
  const move = {
    name: 'test_move',
    text: `update taskwire.tasks set status = $2, version = version + 1 where id = $1::text::uuid and status = $3 returning version`,
  }
  for (const from of STATUSES) {
    for (const to of STATUSES) {
      await db.run(place, [id, from])
      const attempt = db.run(move, [id, to, from])
      const isEdit = from === to && IDLE_STATUSES.includes(from)
      if (isEdit || canMove(from, to)) t.same(await attempt, [{ version: 2 }], `${from} to ${to} is allowed`)
      else await t.rejects(attempt, { code: '23514' }, `${from} to ${to} is refused`)
    }
  }
})

t.test('the database refuses a change of status without the next version, and an unknown status', async (t) => {
  const db = await openTestDatabase(t, await server.createDatabase())
  const [id = ''] = await storeTasks(db, 1)
  const set = (assignments: string) =>
    db.run(
      { name: `test_${assignments}`, text: `update taskwire.tasks set ${assignments} where id = $1::text::uuid` },
      [id],
    )
  await t.rejects(set(`status = 'PROCESSING'`), /not allowed/)
  await t.rejects(set(`status = 'PROCESSING', version = 3`), /not allowed/)
  await t.rejects(set(`version = 3`), /not allowed/)
  await t.rejects(set(`status = 'DONE', version = 2`))
  await set(`version = 2`) // an edit
  await set(`status = 'PROCESSING', version = 3`)
  await t.rejects(set(`version = 4`), /not allowed/, 'a running task is not edited')
})
