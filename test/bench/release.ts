/**
 * `release`: what limits and lanes cost. No-op tasks, real services, every commit synced.
 *
 * - A key limited to 1: how many tasks a second, and how long from the end of one to the start of the next.
 * - 10,000 keys limited to 1 each, against as many tasks without a key.
 * - A million gated tasks waiting in 1,000 lanes: how long 16 releases take, and creates against an empty system.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { Agent, request } from 'undici'
import { v7 as uuidv7 } from 'uuid'
import { openDatabase } from '../../src/db/open.js'
import { createTasks } from '../../src/store/tasks/create.js'
import { readProcessMs } from './cpu-time.js'
import { describe, median, openStack, quantile, type Stack } from './stack.js'

const CONNECTIONS = 64
const ONE_KEY_TASKS = 1_000
const KEYS = 10_000
const ROUNDS = 3
const LANES = 1_000
const BACKLOG = Number(process.env['BENCH_BACKLOG'] ?? 1_000_000)
/** `one key`, `many keys` or `backlog`; all if unset. */
const PART = process.env['BENCH_PART']
const PORTION = 100_000
const RELEASES = 300
/** As many as the slots that become free at once. */
const RELEASED = 16
const CREATE_ROUNDS = 21
const CREATES = 20
const CREATE_BATCH = 50

type Sql = postgres.Sql

export async function benchRelease(): Promise<void> {
  const stack = await openStack()
  const sql = postgres(stack.databaseUrl, { max: 1, onnotice: () => {} })
  try {
    await sql`insert into taskwire.limits (name, per, concurrency, set_by) values ('one-per-key', 'key', 1, 'bench')`
    if (PART === 'backlog') return await measureBacklog(stack, sql)
    const roles = [await stack.startRole('relay'), await stack.startRole('worker'), await stack.startRole('web')]
    const address = roles[2]?.address ?? ''
    await sleep(3_000)
    if (PART !== 'many keys') await measureOneKey(sql, address)
    if (PART !== 'one key') await measureManyKeys(sql, address)
    for (const role of roles) await role.stop()
    if (PART === undefined) await measureBacklog(stack, sql)
  } finally {
    await sql.end()
    await stack.close()
  }
}

async function measureOneKey(sql: Sql, address: string): Promise<void> {
  await createAndAwait(sql, address, 100, () => 'warm-up')
  await createAndAwait(sql, address, ONE_KEY_TASKS, () => 'one')
  const [answer] = await sql<{ perSecond: number; p50: number; p99: number }[]>`
with runs as (
  select extract(epoch from a.started_at) * 1000 as started, extract(epoch from a.finished_at) * 1000 as ended
  from taskwire.attempts a join taskwire.tasks t on t.id = a.task_id where t.concurrency_key = 'one'
), gaps as (
  select started - lag(ended) over (order by started) as gap, started, ended from runs
)
select (count(*) / (max(ended) - min(started)) * 1000)::float8 as "perSecond",
  (percentile_cont(0.5) within group (order by gap))::float8 as p50, (percentile_cont(0.99) within group (order by gap))::float8 as p99
from gaps`
  const { perSecond = 0, p50 = 0, p99 = 0 } = answer ?? {}
  console.log(`release, one key limited to 1, ${ONE_KEY_TASKS} no-op tasks`)
  console.log(`  taskwire             ${perSecond.toFixed(0)} tasks/s   (target: 100)`)
  console.log(`  end to next start    p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms   (target: p50 10 ms)`)
}

async function measureManyKeys(sql: Sql, address: string): Promise<void> {
  const open: number[] = []
  const limited: number[] = []
  await createAndAwait(sql, address, 1_000, () => undefined)
  for (let round = 0; round < ROUNDS; round += 1) {
    open.push(await createAndAwait(sql, address, KEYS, () => undefined))
    limited.push(await createAndAwait(sql, address, KEYS, (index) => `key-${index}`))
  }
  console.log(
    `release, ${KEYS} keys limited to 1 each, one no-op task a key, medians of ${ROUNDS} rounds, taking turns`,
  )
  console.log(`  without keys         ${describe(open)} tasks/s`)
  console.log(`  with keys            ${describe(limited)} tasks/s`)
  console.log(`  ratio                ${(median(limited) / median(open)).toFixed(2)}   (target: 0.60)`)
}

/** Tasks a second, from the first create to the last end. */
async function createAndAwait(
  sql: Sql,
  address: string,
  count: number,
  keyOf: (index: number) => string | undefined,
): Promise<number> {
  const countEnded = async () => Number((await sql`select count(*) as count from taskwire.attempts`)[0]?.['count'])
  const before = await countEnded()
  const dispatcher = new Agent({ connections: CONNECTIONS, pipelining: 1 })
  const startedAtMs = performance.now()
  let next = 0
  const create = async () => {
    while (next < count) {
      const concurrencyKey = keyOf(next)
      next += 1
      const answer = await request(`${address}/api/tasks`, {
        method: 'POST',
        dispatcher,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ title: 'no-op', payload: { steps: 0 }, concurrencyKey }),
      })
      if (answer.statusCode !== 202) throw new Error(`refused with ${answer.statusCode}: ${await answer.body.text()}`)
      await answer.body.dump()
    }
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, create))
  while ((await countEnded()) < before + count) await sleep(20)
  const perSecond = (count / (performance.now() - startedAtMs)) * 1_000
  await dispatcher.close()
  return perSecond
}

async function measureBacklog(stack: Stack, sql: Sql): Promise<void> {
  await sql`truncate taskwire.tasks, taskwire.transitions, taskwire.deliveries, taskwire.attempts, taskwire.leases, taskwire.lanes, taskwire.shares, taskwire.arrivals,
    taskwire.wakes, taskwire.holds, taskwire.levels`
  const empty = await measureCreates(stack)
  await fillLanes(sql)
  const full = await measureCreates(stack)
  await sql`
insert into taskwire.workers (id, host, pid, version, types, queues, lease_until)
values ('bench', 'h', 1, '0', '{}', ${sql.json([{ name: 'gated', slots: RELEASED, running: 0 }])}, now() + interval '1 hour')`
  const takenMs: number[] = []
  let cpuMs = 0
  const { pid } = (await sql<{ pid: number }[]>`select pg_backend_pid() as pid`)[0] ?? { pid: 0 }
  for (let index = 0; index < RELEASES; index += 1) {
    const cpuBefore = await readProcessMs(pid)
    const startedAtMs = performance.now()
    const rows = await sql`select task_id from taskwire.release_deliveries(200, 60000::float8)`
    // The first one learns of the lanes.
    if (index > 0) takenMs.push(performance.now() - startedAtMs)
    if (index > 0) cpuMs += (await readProcessMs(pid)) - cpuBefore
    if (rows.length !== RELEASED + 1) throw new Error(`${rows.length - 1} were released`)
    await sql`delete from taskwire.deliveries where queue = 'gated' and is_released`
  }
  console.log(`release, ${BACKLOG} gated tasks waiting in ${LANES} lanes, ${RELEASES} times ${RELEASED} releases`)
  console.log(
    `  ${RELEASED} releases          p50 ${quantile(takenMs, 0.5).toFixed(1)} ms, p99 ${quantile(takenMs, 0.99).toFixed(1)} ms   (target: p99 5 ms)`,
  )
  console.log(
    `  processor time       ${(cpuMs / takenMs.length).toFixed(2)} ms for ${RELEASED} releases, in PostgreSQL`,
  )
  console.log(`  creates, empty       ${describe(empty, 2)} ms for ${CREATE_BATCH} gated tasks`)
  console.log(`  creates, backlog     ${describe(full, 2)} ms`)
  console.log(`  ratio                ${(median(full) / median(empty)).toFixed(2)}   (target: 1.10)`)
}

/** Milliseconds for a batch of gated creates, in rounds. */
async function measureCreates(stack: Stack): Promise<number[]> {
  const db = openDatabase(stack.databaseUrl, { maxConnections: 1 })
  const rounds: number[] = []
  for (let round = -2; round < CREATE_ROUNDS; round += 1) {
    const startedAtMs = performance.now()
    for (let index = 0; index < CREATES; index += 1) {
      const tasks = Array.from({ length: CREATE_BATCH }, (_, n) => ({
        ...{
          id: uuidv7(),
          tenant: 'default',
          type: 'demo.sleep',
          title: 'a task',
          priority: 0,
          tags: [],
          payload: {},
          runAt: null,
          delayMs: null,
        },
        ...{ queue: 'other', maxAttempts: 1, isGated: true, isHandedOver: false, more: { concurrencyKey: `key-${n}` } },
      }))
      await createTasks(db, tasks, 60_000)
    }
    if (round >= 0) rounds.push((performance.now() - startedAtMs) / CREATES)
  }
  await db.close()
  return rounds
}

async function fillLanes(sql: Sql): Promise<void> {
  await sql`set synchronous_commit = off`
  for (let from = 0; from < BACKLOG; from += PORTION) {
    await sql`
with made as (
  insert into taskwire.tasks (id, tenant, type, title, payload, queue, status)
  select gen_random_uuid(), 't' || (n % ${LANES}::integer), 'demo.sleep', 'a task', '{}', 'gated', 'PENDING'
  from generate_series(${from}::integer, ${Math.min(from + PORTION, BACKLOG) - 1}::integer) n
  returning id, tenant, type, queue, priority
), laned as (
  select m.*, taskwire.lane_id(m.queue, m.tenant, m.type, m.priority, '', '') as lane_id from made m
), outbox as (
  insert into taskwire.deliveries (task_id, attempt, tenant, queue, priority, due_at, lane_id, ready_at)
  select id, 1, tenant, queue, priority, 'infinity', lane_id, clock_timestamp() from laned
)
insert into taskwire.arrivals (lane_id, queue, tenant, type, priority, key, sequence_key)
select distinct lane_id, queue, tenant, type, priority, '', '' from laned`
  }
  await sql`vacuum (analyze) taskwire.tasks, taskwire.deliveries`
  await sql`set synchronous_commit = on`
}
