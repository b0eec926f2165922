/** The breaker: a type whose attempts nearly all fail for one reason is paused, and tried again by itself. */
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import type { TypeOutcomes } from '../../src/protocol/worker.js'
import { breakFailingTypes } from '../../src/store/release/break.js'
import { deletePause } from '../../src/store/release/pauses.js'
import { recordHeartbeat } from '../../src/store/workers.js'
import { OutcomeCounts } from '../../src/worker/outcome-counts.js'
import { openTestDatabase } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const db = await openTestDatabase(t, (await startPostgres(t)).url)
let statements = 0
const run = <Row>(text: string) => db.run<Row>({ name: `test_${(statements += 1)}`, text }, [])

async function beat(id: string, outcomes: TypeOutcomes[], leaseMs = 600_000): Promise<void> {
  const self = { host: 'h', pid: 1, version: '0', types: [], queues: [], isStopping: false, isDraining: false }
  await recordHeartbeat(db, { id, ...self, outcomes }, leaseMs)
}

const count = (
  type: string,
  failed: number,
  ended: number,
  { reason = 'connect ECONNREFUSED', ageMs = 0 } = {},
): TypeOutcomes => ({
  type,
  ageMs,
  ended,
  failed,
  reason,
})

t.test('what all workers have seen decides', async (t) => {
  await beat('a', [count('report.a', 10, 10), count('report.b', 19, 19), count('report.c', 15, 30)])
  await beat('b', [count('report.a', 10, 10), count('report.c', 15, 15)])
  await beat('lost', [count('report.b', 100, 100)], -1)
  const [broken, ...others] = await breakFailingTypes(db, 20)
  t.match(broken, { type: 'report.a', reason: '20 of 20 attempts failed within a minute: connect ECONNREFUSED' })
  t.same(others, [], 'too few attempts, too many successes')
  t.match(await run('select kind, name, set_by from taskwire.pauses'), [
    { kind: 'type', name: 'report.a', set_by: 'the breaker' },
  ])
  t.same(await breakFailingTypes(db, 20), [], 'it is paused already')
  t.match(
    await run(
      `select l.types[1] as type, l.ramp_since = p.until as "isAfterPause" from taskwire.limits l join taskwire.pauses p on p.name = l.types[1]`,
    ),
    [{ type: 'report.a', isAfterPause: true }],
    'after the pause one attempt tries first',
  )
  t.match(
    await run(`select rate, period_ms as "periodMs", burst from taskwire.limits`),
    [{ rate: 1, periodMs: 1_000, burst: 1 }],
    'however short they are, one attempt tries in a second',
  )
})

t.test('after its pause the first attempts decide, and the next pause is longer', async (t) => {
  const seconds = async () => {
    const [row] = await run<{ s: number }>(
      `select round(extract(epoch from until - set_at))::integer as s from taskwire.pauses where name = 'report.a'`,
    )
    return row?.s
  }
  t.equal(await seconds(), 30)
  await run('delete from taskwire.pauses')
  await beat('a', [count('report.a', 2, 2)])
  await beat('b', [])
  t.same(await breakFailingTypes(db, 20), [], 'two attempts are too few')
  await beat('a', [count('report.a', 3, 3)])
  t.match(await breakFailingTypes(db, 20), [{ type: 'report.a' }])
  t.equal(await seconds(), 60)
})

t.test('a type that a person resumes is judged by what happens after that', async (t) => {
  const principal = { ...DEFAULT_PRINCIPAL, tenant: 'any' }
  t.ok(await deletePause(principal, db, 'type', 'report.a'))
  await beat('a', [count('report.a', 50, 50, { ageMs: 30_000 })])
  t.same(await breakFailingTypes(db, 20), [], 'the count began before')
  await beat('a', [count('report.a', 3, 3)])
  t.match(await breakFailingTypes(db, 20), [{ type: 'report.a' }], 'a new count')
})

t.test('a pause that a person has set stays', async (t) => {
  await run(`insert into taskwire.pauses (kind, name, reason, set_by) values ('type', 'report.d', 'by hand', 'anna')`)
  await beat('a', [count('report.d', 50, 50)])
  t.same(await breakFailingTypes(db, 20), [])
  t.match(await run(`select set_by from taskwire.pauses where name = 'report.d'`), [{ set_by: 'anna' }])
})

t.test('rows of any shape do not stop the breaker', async (t) => {
  for (const odd of ['"x"', '{}', '[1, null, {"type": 1}, {"failed": "many", "ended": {}}]'])
    await run(`update taskwire.workers set outcomes = '${odd}' where id = 'b'`)
  t.same(await breakFailingTypes(db, 20), [])
})

t.test('a worker counts failures by their reason', async (t) => {
  let now = 0
  const counts = new OutcomeCounts(() => now)
  const fail = (reason: string) => counts.add('t', { outcome: 'failed', reason })
  fail('port 4711 refused')
  fail('port 4712 refused')
  fail('something else')
  counts.add('t', { outcome: 'completed', reason: null })
  counts.add('t', { outcome: 'released', reason: 'the worker stopped; handed back' })
  counts.add('t', {
    outcome: 'failed',
    reason: 'no such customer',
    failure: { code: 'permanent', message: 'no such customer', attempt: 1 },
  })
  counts.add('u', { outcome: 'completed', reason: null })
  t.same(counts.read(), [{ type: 't', ageMs: 0, ended: 5, failed: 2, reason: 'port # refused' }])
  now = 5_000
  t.match(counts.read(), [{ ageMs: 5_000 }])
  now = 20_000
  t.same(counts.read(), [], 'after a quiet time the count begins anew')
})
