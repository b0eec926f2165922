/** Fair share: whose turn it is. Time is counted in starts, so no clock decides. */
import t from 'tap'
import type { Statement } from '../../src/db/database.js'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { deleteWeight, putWeight } from '../../src/store/release/weights.js'
import { openTestDatabase } from '../helpers/database.js'
import { atDepth } from '../helpers/depth.js'
import { startPostgres } from '../helpers/services.js'

const server = await startPostgres(t)
const db = await openTestDatabase(t, server.url)
let names = 0

/** Of a whole backlog, which takes a while to write. */
const BACKLOG_DEADLINE_MS = 120_000

const statement = (text: string): Statement => ({
  name: `fair_${(names += 1)}`,
  text,
  deadlineMs: BACKLOG_DEADLINE_MS,
})
const run = <Row>(text: string, values: (string | number)[] = []) => db.run<Row>(statement(text), values)

async function openQueue(slots: number): Promise<string> {
  const queue = `f${(names += 1)}`
  await run(
    `insert into taskwire.workers (id, host, pid, version, types, queues, lease_until)
values ('w-${queue}', 'h', 1, '0', '{}', '[{"name": "${queue}", "slots": ${slots}, "running": 0}]', now() + interval '1 hour')`,
  )
  return queue
}

interface Waiting {
  queue: string
  count: number
  tenants?: number
  tenant?: string
  keys?: number
  priority?: number
}

/** Lets gated tasks wait as creates do, in one statement. Tenants and keys take turns, and then how long each runs. */
async function store({ queue, count, tenants = 1, tenant = 't', keys = 0, priority = 0 }: Waiting): Promise<void> {
  await run(
    `
with made as (
  insert into taskwire.tasks (id, tenant, type, title, payload, queue, priority, status, concurrency_key)
  select gen_random_uuid(), $3 || case when $4::integer > 1 then (n % $4::integer)::text else '' end, 'fair', 'a task', jsonb_build_object('ms', 10 + 10 * (n / $4::integer % 3)), $1, $6::smallint, 'PENDING',
    case when $5::integer > 0 then 'k' || (n % $5::integer) end
  from generate_series(1, $2::integer) n
  returning id, tenant, type, queue, priority, coalesce(concurrency_key, '') as key
), laned as (
  select m.*, taskwire.lane_id(m.queue, m.tenant, m.type, m.priority, m.key, '') as lane_id from made m
), history as (
  insert into taskwire.transitions (task_id, tenant, version, status, attempt, at) select id, tenant, 1, 'PENDING', 0, now() from made
), outbox as (
  insert into taskwire.deliveries (task_id, attempt, tenant, queue, priority, due_at, lane_id, ready_at)
  select id, 1, tenant, queue, priority, 'infinity', lane_id, clock_timestamp() from laned
)
insert into taskwire.arrivals (lane_id, queue, tenant, type, priority, key, sequence_key)
select distinct lane_id, queue, tenant, type, priority, key, '' from laned`,
    [queue, count, tenant, tenants, keys, priority],
  )
}

interface Started {
  tenant: string
  key: string | null
  priority: number
  /** How long it runs. */
  ms: number
}

/** Releases once, and ends all that was released as if it had run. */
async function turn(queue: string): Promise<Started[]> {
  const released = await run<{ task_id: string }>(
    `select task_id from taskwire.release_deliveries(200, 60000) where task_id is not null and skipped_by is null`,
  )
  if (released.length === 0) return []
  return run<Started>(
    `
with ended as (delete from taskwire.deliveries d where d.queue = $1 and d.is_released returning d.task_id)
select t.tenant, t.concurrency_key as key, t.priority, (t.payload->>'ms')::integer as ms from ended e join taskwire.tasks t on t.id = e.task_id`,
    [queue],
  )
}

async function turns(queue: string, starts: number): Promise<Started[]> {
  const started: Started[] = []
  while (started.length < starts) {
    const next = await turn(queue)
    if (next.length === 0) break
    started.push(...next)
  }
  return started.slice(0, starts)
}

function countBy(started: readonly Started[], nameOf: (start: Started) => string): Map<string, number> {
  const counts = new Map<string, number>()
  for (const start of started) counts.set(nameOf(start), (counts.get(nameOf(start)) ?? 0) + 1)
  return counts
}

const share = (started: readonly Started[], tenant: string) =>
  started.filter((start) => start.tenant === tenant).length / started.length

t.test('one task of B beside 10,000 of A is in the next release', async (t) => {
  const queue = await openQueue(4)
  await store({ queue, count: 10_000, tenant: 'a' })
  await turns(queue, 40)
  await store({ queue, count: 1, tenant: 'b' })
  t.equal(share(await turn(queue), 'b'), 1 / 4)
})

t.test('tenants of equal weight get shares that differ by less than 5 %', async (t) => {
  const queue = await openQueue(50)
  const tenants = atDepth(200, 1_000)
  const starts = tenants * 10
  await store({ queue, count: tenants * 12, tenants })
  const counts = [...countBy(await turns(queue, starts), ({ tenant }) => tenant).values()]
  t.equal(counts.length, tenants)
  t.equal(
    counts.reduce((sum, count) => sum + count, 0),
    starts,
  )
  t.ok(Math.max(...counts) - Math.min(...counts) <= 1, `${Math.min(...counts)} to ${Math.max(...counts)} each`)
})

const START_RUNS = statement(`
select t.id, t.queue, t.tenant, t.concurrency_key as key, t.priority, (t.payload->>'ms')::integer as ms
from taskwire.release_deliveries(200, 60000) r join taskwire.tasks t on t.id = any(array[r.task_id])`)
const END_RUNS = statement(
  `delete from taskwire.deliveries d using unnest($1::text::uuid[]) as i(id) where d.task_id = any(array[i.id])`,
)

/**
 * Runs the tasks of a queue by a clock of its own, in steps of 10 ms: whenever runs end, as many are released.
 * @returns when each began and ended
 */
async function runFor(queue: string, lastsMs: number): Promise<(Started & { fromMs: number; toMs: number })[]> {
  // The queues of the other tests start nothing meanwhile.
  await run(`update taskwire.workers set is_stopping = true where id <> 'w-${queue}'`)
  const runs: (Started & { fromMs: number; toMs: number })[] = []
  const running = new Map<string, number>()
  for (let nowMs = 0; nowMs < lastsMs; nowMs += 10) {
    const over = [...running].filter(([, toMs]) => toMs <= nowMs).map(([id]) => id)
    if (nowMs > 0 && over.length === 0) continue
    for (const id of over) running.delete(id)
    if (over.length > 0) await db.run(END_RUNS, [`{${over.join()}}`])
    const released = await db.run<Started & { id: string; queue: string }>(START_RUNS, [])
    for (const { id, queue: from, ...start } of released) {
      if (from !== queue) throw new Error(`the queue ${from} has tasks too`)
      running.set(id, nowMs + start.ms)
      runs.push({ ...start, fromMs: nowMs, toMs: nowMs + start.ms })
    }
  }
  return runs
}

/** Of a worker with the default of WORKER_CONCURRENCY, and as many tenants for each slot. */
t.test('over any 10 s, shares of equal weights differ by less than 5 %, in starts and in time worked', async (t) => {
  const slots = atDepth(26, 128)
  const tenants = atDepth(200, 1_000)
  const queue = await openQueue(slots)
  const perTenant = 96
  for (let part = 0; part < 4; part += 1) await store({ queue, count: (tenants * perTenant) / 4, tenants })
  const runs = await runFor(queue, 14_000)
  t.ok(runs.length < tenants * perTenant, 'all of them have tasks that wait until the end')
  for (let fromMs = 0; fromMs <= 4_000; fromMs += 500) {
    const toMs = fromMs + 10_000
    const starts = new Map<string, number>()
    const worked = new Map<string, number>()
    for (const one of runs) {
      const workedMs = Math.min(one.toMs, toMs) - Math.max(one.fromMs, fromMs)
      if (workedMs > 0) worked.set(one.tenant, (worked.get(one.tenant) ?? 0) + workedMs)
      if (one.fromMs >= fromMs && one.fromMs < toMs) starts.set(one.tenant, (starts.get(one.tenant) ?? 0) + 1)
    }
    for (const [what, counts] of Object.entries({ starts, worked })) {
      t.equal(counts.size, tenants)
      const shares = [...counts.values()]
      const mean = shares.reduce((sum, share) => sum + share, 0) / tenants
      const [least, most] = [Math.min(...shares) / mean, Math.max(...shares) / mean]
      t.ok(least > 0.95 && most < 1.05, `${what} from ${fromMs} ms: ${least.toFixed(3)} to ${most.toFixed(3)} of equal`)
    }
  }
  await run(`delete from taskwire.deliveries where queue = '${queue}'`)
})

t.test('a weight that is set while many wait decides the very next starts', async (t) => {
  const queue = await openQueue(1)
  await store({ queue, count: atDepth(5_000, 100_000), tenants: 10, keys: 1 })
  const countOf = async (starts: number) => (await turns(queue, starts)).filter(({ tenant }) => tenant === 't3').length
  t.equal(await countOf(100), 10)
  // Of 5 + 9 starts 5 are its own, of 46 one is, and of 10 again one is.
  await putWeight(DEFAULT_PRINCIPAL, db, { tenant: 't3' }, { weight: 5 })
  for (let round = 0; round < 3; round += 1) {
    const count = await countOf(14)
    t.ok(Math.abs(count - 5) <= 1, `${count} of 14 with the weight 5`)
  }
  await putWeight(DEFAULT_PRINCIPAL, db, { tenant: 't3' }, { weight: 0.2 })
  for (let round = 0; round < 3; round += 1) {
    const count = await countOf(46)
    t.ok(count <= 2, `${count} of 46 with the weight 0.2`)
  }
  await deleteWeight(DEFAULT_PRINCIPAL, db, { tenant: 't3' })
  const count = await countOf(50)
  t.ok(Math.abs(count - 5) <= 1, `${count} of 50 without a weight`)
  await run(`delete from taskwire.deliveries where queue = '${queue}'`)
})

t.test('a weight of 3 gives three times as much, and a change reaches what waits already at once', async (t) => {
  const queue = await openQueue(8)
  const weigh = (tenant: string, weight: number) =>
    run(
      `insert into taskwire.weights (kind, tenant, weight, set_by) values ('tenant', '${tenant}', ${weight}, 'test') on conflict (kind, tenant, key) do update set weight = excluded.weight`,
    )
  await store({ queue, count: atDepth(2_000, 20_000), tenant: 'heavy' })
  await store({ queue, count: atDepth(2_000, 20_000), tenant: 'light' })
  const isAbout = (started: Started[], expected: number, message: string) =>
    t.ok(Math.abs(share(started, 'heavy') / expected - 1) < 0.05, `${message}: ${share(started, 'heavy')}`)
  isAbout(await turns(queue, 400), 1 / 2, 'equal')
  await weigh('heavy', 3)
  isAbout(await turns(queue, 400), 3 / 4, 'three to one')
  await weigh('heavy', 0.25)
  isAbout(await turns(queue, 400), 1 / 5, 'one to four')
  await run(`delete from taskwire.weights`)
  isAbout(await turns(queue, 400), 1 / 2, 'equal again')
})

t.test('a tenant that spreads its tasks over 100 keys gets no more than one with one key', async (t) => {
  const queue = await openQueue(8)
  await store({ queue, count: 1_000, tenant: 'many', keys: 100 })
  await store({ queue, count: 1_000, tenant: 'one', keys: 1 })
  t.equal(share(await turns(queue, 800), 'many'), 1 / 2)
})

t.test('keys of a tenant get equal shares, however many tasks each has', async (t) => {
  const queue = await openQueue(8)
  await store({ queue, count: 1_000, tenant: 'a', keys: 1 })
  await store({ queue, count: 400, tenant: 'a', keys: 4 })
  const counts = [...countBy(await turns(queue, 320), ({ key }) => key ?? '').values()]
  t.equal(counts.length, 4)
  t.ok(Math.max(...counts) - Math.min(...counts) <= 1, counts.join())
})

t.test('a key with the weight 3 gets three times as much as another of its tenant', async (t) => {
  const queue = await openQueue(8)
  await store({ queue, count: 1_000, tenant: 'k', keys: 2 })
  await run(`insert into taskwire.weights (kind, tenant, key, weight, set_by) values ('key', 'k', 'k1', 3, 'test')`)
  const counts = countBy(await turns(queue, 400), ({ key }) => key ?? '')
  await run(`delete from taskwire.weights`)
  t.ok(Math.abs((counts.get('k1') ?? 0) - 300) <= 2, `${counts.get('k1')} of 400`)
})

t.test('a higher priority goes first, and the lowest still gets its share', async (t) => {
  const queue = await openQueue(4)
  for (const priority of [0, 5, 9]) await store({ queue, count: 1_000, priority })
  const counts = countBy(await turns(queue, 960), ({ priority }) => String(priority))
  t.ok((counts.get('9') ?? 0) >= 960 * (7 / 8), 'at least seven of eight starts')
  t.ok((counts.get('0') ?? 0) >= 960 / 8 / 3 - 1, `the lowest: ${counts.get('0')}`)
  t.ok((counts.get('5') ?? 0) >= 960 / 8 / 3 - 1, `the one between: ${counts.get('5')}`)
})

t.test('slots that a held tenant does not use go to the others, and it gets no more later', async (t) => {
  const queue = await openQueue(8)
  for (const tenant of ['a', 'b']) await store({ queue, count: 1_000, tenant })
  await run(`insert into taskwire.pauses (kind, name, set_by) values ('tenant', 'b', 'test')`)
  for (let step = 0; step < 20; step += 1) {
    const started = await turn(queue)
    t.equal(started.length, 8, 'all slots are used')
    t.equal(share(started, 'a'), 1)
  }
  await run(
    `with gone as (delete from taskwire.pauses returning *) insert into taskwire.wakes (blocked_by) select 'pause ' || kind || ' ' || tenant || ' ' || name from gone`,
  )
  t.equal(share(await turns(queue, 80), 'b'), 1 / 2, 'it does not catch up on what it has missed')
})
