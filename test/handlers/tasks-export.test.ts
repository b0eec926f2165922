/** An export whose worker dies, at each place where it could matter: the next attempt ends it, with the same file. */
import { createHash } from 'node:crypto'
import t from 'tap'
import { tasksExport } from '../../src/handlers/tasks-export.js'
import { runDefinition, type RunOptions } from '../../src/testing/run-definition.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const db = await openTestDatabase(t, (await startPostgres(t)).url)
const ids = await storeTasks(db, 25)

const POINTS = ['after-effect:scope', 'after-effect:part-00001', 'after-record:part-00001', 'after-effect:file', 'after-record:file', 'before-return'] as const satisfies RunOptions['crashAt'][]

for (const crashAt of POINTS) {
  t.test(`the worker dies at ${crashAt}`, async (t) => {
    const lost = await runDefinition(tasksExport, {}, { db, crashAt })
    const run = await runDefinition(tasksExport, {}, { db, after: lost })
    const { artifacts } = run.reported
    const content = artifacts.get('tasks.csv')?.content ?? Buffer.alloc(0)
    const sha256 = createHash('sha256').update(content).digest('hex')
    t.match(run, { status: 'COMPLETED', attempt: 2, result: { file: 'tasks.csv', rows: ids.length, bytes: content.length, sha256 } })
    t.same([...artifacts.keys()], ['tasks.csv'], 'no parts are left')
    t.same(content.toString().trim().split('\r\n').slice(1).map((line) => line.split(',')[0]), ids.toSorted())
  })
}

t.test('what a spreadsheet would run as a formula is text', async (t) => {
  const tag = 'formulas'
  const titles = ['=1+1', ' =1+1', '+1', '-1', '@SUM(1)', '\t=1', '\r=1', '\n=1', '＝1+1', '＋1', '－1', '＠SUM(1)']
  for (const title of [...titles, 'a = b', '1-1']) await storeTasks(db, 1, { title, tags: [tag] })
  const { reported } = await runDefinition(tasksExport, { tag }, { db })
  const csv = reported.artifacts.get('tasks.csv')?.content.toString() ?? ''
  for (const title of titles) t.ok(csv.includes(`,"'${title}",`), JSON.stringify(title))
  for (const title of ['a = b', '1-1']) t.ok(csv.includes(`,"${title}",`), title)
})
