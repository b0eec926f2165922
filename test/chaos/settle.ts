/**
 * The end of the chaos run, when no more faults strike: first all tasks end that nobody holds back on purpose, then the
 * others are cancelled or resumed and end too, and the release has nothing left over.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../../src/db/database.js'
import { HELD_KEY, type Operators } from './operators.js'

/** One of so many that are held is cancelled, and the others are resumed. */
const CANCEL_EVERY = 4
/** As many are asked what they wait for. */
const MAX_ASKED = 20

export interface Settled {
  /** The tasks that were held back on purpose. */
  held: string[]
  /** Those of them that were cancelled. */
  cancelled: Set<string>
  violations: string[]
}

export async function settle(db: Database, operators: Operators, withinMs: number): Promise<Settled> {
  const violations: string[] = []
  await operators.insist('PUT', `pauses/key/${encodeURIComponent(HELD_KEY)}`, { reason: 'held to the end' })
  await endOtherPauses(db, operators)
  const stuck = await waitUntilNone(() => readUnfinished(db, 'free'), withinMs)
  violations.push(...stuck.map(({ id, line }) => `${id} waits although nobody holds it: ${line}`))

  const held = (await readUnfinished(db, 'held')).map(({ id }) => id)
  violations.push(...(await findWrongReasons(operators, held.slice(0, MAX_ASKED))))
  const cancelled = new Set(held.filter((_, index) => index % CANCEL_EVERY === CANCEL_EVERY - 1))
  for (const id of cancelled) await operators.insist('POST', `tasks/${id}/cancel`)
  await operators.insist('DELETE', `pauses/key/${encodeURIComponent(HELD_KEY)}`)
  const left = await waitUntilNone(async () => {
    await operators.resumeSequences()
    return readUnfinished(db, 'any')
  }, withinMs)
  violations.push(...left.map(({ id, line }) => `${id} waits although it was resumed: ${line}`))
  if (left.length === 0)
    violations.push(...(await waitUntilNone(() => readLeftOver(db), withinMs)).map(({ line }) => line))
  return { held, cancelled, violations }
}

async function endOtherPauses(db: Database, operators: Operators): Promise<void> {
  const text = `select kind, name from taskwire.pauses where until is null and name <> $1`
  for (const { kind, name } of await db.run<{ kind: string; name: string }>({ name: 'chaos_pauses', text }, [HELD_KEY]))
    await operators.insist('DELETE', `pauses/${kind}/${encodeURIComponent(name)}`)
}

interface Row {
  id: string
  line: string
}

/** Returns what is left when the time is over. */
async function waitUntilNone(read: () => Promise<Row[]>, withinMs: number): Promise<Row[]> {
  const deadlineMs = performance.now() + withinMs
  for (;;) {
    const rows = await read()
    if (rows.length === 0 || performance.now() > deadlineMs) return rows
    await sleep(100)
  }
}

/**
 * A task is held on purpose if its key is paused without an end, if its sequence is halted, or if the first of its
 * sequence is held.
 */
const UNFINISHED = `
with firsts as (
  select distinct on (m.tenant, m.key) m.tenant, m.key, m.task_id, m.halted_at from taskwire.sequence_members m order by m.tenant, m.key, m.position
), unfinished as (
  select t.*, coalesce(f.halted_at is not null, false) or exists (
      select from taskwire.pauses p join taskwire.tasks h on h.id in (t.id, f.task_id)
      where p.kind = 'key' and p.until is null and p.tenant = h.tenant and p.name = h.concurrency_key
    ) as is_held
  from taskwire.tasks t left join firsts f on f.tenant = t.tenant and f.key = t.sequence_key
  where t.finished_at is null
)
select u.id, json_build_object('status', u.status, 'delivery', row_to_json(d), 'lane', row_to_json(l), 'share', row_to_json(s))::text as line
from unfinished u
left join taskwire.deliveries d on d.task_id = u.id
left join taskwire.lanes l on l.id = d.lane_id
left join taskwire.shares s on s.queue = l.queue and s.priority = l.priority and s.tenant = l.tenant
where case $1 when 'any' then true when 'held' then u.is_held else not u.is_held or u.status in ('PROCESSING', 'CANCELLING') end
order by u.id`

function readUnfinished(db: Database, which: 'free' | 'held' | 'any'): Promise<Row[]> {
  return db.run<Row>({ name: 'chaos_unfinished', text: UNFINISHED }, [which])
}

/** Rows of the release that belong to no task. */
function readLeftOver(db: Database): Promise<Row[]> {
  const text = `
select '' as id, 'a hold is left over: ' || row_to_json(h) as line from taskwire.holds h
union all select '', 'a lane is left over: ' || row_to_json(l) from taskwire.lanes l where l.is_waiting or l.blocked_by is not null
union all select '', 'a member of a sequence is left over: ' || row_to_json(m) from taskwire.sequence_members m
union all select '', 'an arrival is left over: ' || row_to_json(a) from taskwire.arrivals a
union all select '', 'a delivery is left over: ' || row_to_json(d) from taskwire.deliveries d`
  return db.run<Row>({ name: 'chaos_left_over', text }, [])
}

/** Each says that it is paused, or that its sequence is halted or waits for one that is paused. */
async function findWrongReasons(operators: Operators, ids: readonly string[]): Promise<string[]> {
  const wrong: string[] = []
  for (const id of ids) {
    const { waitingFor } = (await operators.insist('GET', `tasks/${id}`)) as { waitingFor: { code: string } | null }
    if (!['paused', 'sequence', 'sequence_halted', 'run_time', 'backoff'].includes(waitingFor?.code ?? ''))
      wrong.push(`${id} is held on purpose, but says that it waits for ${JSON.stringify(waitingFor)}`)
  }
  return wrong
}
