/**
 * The statements that run for every task find their rows by key, whatever the size of the tables when PostgreSQL makes
 * the plan that it caches.
 */
import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import t from 'tap'
import { STATEMENT_SETTINGS, type Database, type Statement } from '../../src/db/database.js'
import { claimAttemptsIfDue } from '../../src/store/attempts/claim.js'
import { settleAttemptsIfCurrent } from '../../src/store/attempts/settle.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const SIZES = [1, 30, 200, 800, 3_200]

/** Returns the text of the statement that `work` runs. */
async function readText(work: (db: Database) => Promise<unknown>): Promise<string> {
  let text = ''
  const run = (statement: Statement) => {
    text = statement.text
    return Promise.resolve([])
  }
  await work({ run } as unknown as Database)
  return text
}

const ref = { taskId: randomUUID(), attempt: 1 }
const statements = {
  claim: await readText((db) => claimAttemptsIfDue(db, [ref], 'w', 1)),
  settle: await readText((db) =>
    settleAttemptsIfCurrent(db, [{ ...ref, outcome: 'completed', status: 'COMPLETED', reason: null }]),
  ),
}

t.test('plans of claims and settlements look each task up, on tables of any size', async (t) => {
  const server = await startPostgres(t)
  const db = await openTestDatabase(t, server.url)
  const client = postgres(server.url, {
    max: 1,
    connection: { options: `${STATEMENT_SETTINGS} -c plan_cache_mode=force_generic_plan` },
    onnotice: () => {},
  })
  const check = async (state: string) => {
    for (const [name, text] of Object.entries(statements)) {
      const parameters = new Set([...text.matchAll(/\$\d/g)].map(([parameter]) => parameter))
      await client.unsafe(`prepare plan as ${text}`)
      const rows = await client.unsafe(`explain execute plan(${[...parameters].map(() => 'null').join(', ')})`)
      await client.unsafe('deallocate plan')
      const lines = rows.map((row) => String(row['QUERY PLAN']))
      const scans = lines.filter((line) => / on (tasks|leases|deliveries|attempts) /.test(line) && / Scan /.test(line))
      t.ok(scans.length >= 3, `${name} ${state}: the plan is read`)
      const whole = scans.filter((line) => !/Index Cond: /.test(lines[lines.indexOf(line) + 1] ?? ''))
      t.same(whole, [], `${name} ${state}`)
    }
  }
  let stored = 0
  for (const size of SIZES) {
    await storeTasks(db, size - stored)
    stored = size
    await check(`with ${size} tasks`)
    await db.run({ name: 'test_vacuum', text: 'vacuum analyze' }, [])
    await check(`with ${size} tasks, analyzed`)
  }
  await client.end()
})
