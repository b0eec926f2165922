/** `GET /api/workers` and the calls for one worker, whatever rows and ids they meet. Real workers: `worker/registry.test.ts`. */
import postgres from 'postgres'
import t from 'tap'
import { createChecker } from '../../src/definitions/schema-errors.js'
import type { Problem } from '../../src/protocol/errors.js'
import { WorkerList, type Worker } from '../../src/protocol/worker.js'
import { startApp } from '../helpers/app.js'

const { address, databaseUrl } = await startApp(t)
const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} })
t.teardown(() => sql.end())

const queue = { name: 'default', slots: 4, running: 2 }
/** A column, the value that SQL writes, and what the API shows of it. */
const ODD: [column: string, value: string, shown: Partial<Worker>][] = [
  ...['{}', '"x"', '7', 'true', 'null', '[]', '[null]', '["x"]', '[[]]', '[{"name": 1}]', '[{"name": "default"}]'].map(
    (json): (typeof ODD)[number] => ['queues', `'${json}'`, { queues: [], running: 0 }],
  ),
  ...['"4"', '-1', '1.5', 'null', '1e400', '{}'].map((slots): (typeof ODD)[number] => [
    'queues',
    `'[{"name": "default", "slots": ${slots}, "running": 0}, ${JSON.stringify(queue)}]'`,
    { queues: [queue], running: 2 },
  ]),
  ['queues', `'[{"name": "no such name!", "slots": 1, "running": 0}]'`, { queues: [], running: 0 }],
  ['types', `'{}'`, { types: [] }],
  ['types', `array[null]::text[]`, { types: [] }],
  ['types', `array['demo.sleep', null]`, { types: ['demo.sleep'] }],
  [
    'types',
    `array[['demo.sleep', 'own.type'], ['other.type', null]]`,
    { types: ['demo.sleep', 'own.type', 'other.type'] },
  ],
  ['types', `'[5:6]={demo.sleep,own.type}'`, { types: ['demo.sleep', 'own.type'] }],
  ['pid', '-7', { pid: -7 }],
  ['host', `''`, { host: '' }],
  ['version', `repeat('x', 10000)`, { version: 'x'.repeat(10_000) }],
  ...(['started_at', 'seen_at'] as const).flatMap((column): typeof ODD => {
    const field = column.replace('_a', 'A') as 'seenAt'
    return [
      [column, `'infinity'`, { [field]: '9999-12-31T23:59:59.999Z' }],
      [column, `'-infinity'`, { [field]: '0001-01-01T00:00:00.000Z' }],
    ]
  }),
  ['lease_until', `'-infinity'`, { state: 'lost' }],
  ['lease_until', `'infinity'`, { state: 'running' }],
  ['drained_at', `'infinity'`, { drain: { at: '9999-12-31T23:59:59.999Z', by: '', reason: null } }],
  ['drained_by', `'me'`, { drain: null }],
]

t.test('each row that only SQL can write is listed, drained and resumed, and hides no other', async (t) => {
  await sql`truncate taskwire.workers`
  for (const id of ['healthy', ...ODD.keys()])
    await sql`
      insert into taskwire.workers (id, host, pid, version, types, queues, lease_until)
      values (${`worker ${id}`}, 'a', 1, '1', '{demo.sleep}', ${sql.json([queue])}, now() + interval '1 hour')`
  for (const [index, [column, value]] of ODD.entries())
    await sql.unsafe(`update taskwire.workers set ${column} = ${value} where id = 'worker ${index}'`)
  const answer = await fetch(`${address}/api/workers`)
  t.equal(answer.status, 200)
  const list = (await answer.json()) as WorkerList
  t.equal(list.items.length, ODD.length + 1)
  const violations = createChecker(WorkerList).check(list)
  t.same(violations, [])
  for (const [index, [column, value, shown]] of ODD.entries()) {
    const name = `${column} = ${value.slice(0, 100)}`
    const id = `worker ${index}`
    t.match(
      list.items.find((item) => item.id === id),
      shown,
      name,
    )
    for (const action of ['drain', 'resume'])
      t.equal(
        (await fetch(`${address}/api/workers/${encodeURIComponent(id)}/${action}`, { method: 'POST' })).status,
        200,
        `${action} ${name}`,
      )
  }
})

t.test('types that SQL has quarantined without an end are listed', async (t) => {
  await sql`insert into taskwire.quarantined_types (type, reason, since, until) values ('own.type', '', '-infinity', 'infinity')`
  const { quarantinedTypes } = (await (await fetch(`${address}/api/workers`)).json()) as WorkerList
  t.match(quarantinedTypes, [{ type: 'own.type', since: /^0001-/, until: /^9999-/ }])
})

t.test('a malformed id of a worker is answered with where to find the ids of workers', async (t) => {
  for (const id of ['a\0b', 'x'.repeat(301)])
    for (const action of ['drain', 'resume']) {
      const answer = await fetch(`${address}/api/workers/${encodeURIComponent(id)}/${action}`, { method: 'POST' })
      t.equal(answer.status, 400)
      const { code, fix } = (await answer.json()) as Problem
      t.equal(code, 'invalid_id')
      t.match(fix, 'GET /api/workers')
      t.notMatch(fix, /^Send a UUID/)
    }
})
