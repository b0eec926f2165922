/** The cost of a list on a large table: the rows that PostgreSQL reads for it, according to EXPLAIN ANALYZE. */
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import type { Database } from '../../src/db/database.js'
import type { TaskFilter } from '../../src/protocol/filter.js'
import { findTasks, listPage } from '../../src/store/reads/list.js'
import { openTestDatabase } from '../helpers/database.js'
import { atDepth } from '../helpers/depth.js'
import { startPostgres } from '../helpers/services.js'

// Allows for the full counts on a slow machine.
t.setTimeout(900_000)

const TASKS = atDepth(60_000, 200_000)
const RARE = 3
const LIMIT = 50
/** The bound for a list that one index serves: its page, and the rows behind it. */
const FEW_ROWS = 5 * LIMIT
/** The bound for a list that first compares two indexes: the first 1,000 entries of each. */
const SOME_ROWS = 2 * 1_000 + 8 * LIMIT

interface Plan {
  'Node Type': string
  'Relation Name'?: string
  'Index Name'?: string
  'Actual Rows'?: number
  'Actual Loops'?: number
  'Rows Removed by Filter'?: number
  'Rows Removed by Index Recheck'?: number
  Plans?: Plan[]
}

const server = await startPostgres(t)
const db = await openTestDatabase(t, server.url)
const sql = (name: string, text: string) => db.run({ name, text, forceCustomPlan: true, deadlineMs: 600_000 }, [])
const BATCH = '019aa3f2-0000-7000-9000-000000000001'

// The id of each task follows from its number. The first few tasks, which are the oldest, are the rare ones.
await sql(
  'fill_tasks',
  `
  insert into taskwire.tasks (id, type, title, queue, tags, status, payload, created_at, batch_id, parent_id)
  select ('019aa3f2-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid,
    case when i <= ${RARE} then 'rare.type' else 'common.type' end, case when i <= ${RARE} then 'a Rare title' else 'a title' end,
    case when i <= ${RARE} then 'rare' when i % 2 = 0 then 'busy' else 'default' end,
    case when i <= ${RARE} then '{rare,common}' when i % 3 = 0 then '{}' else '{common}' end::text[],
    (case when i <= ${RARE} then 'FAILED' when i % 2 = 0 then 'PENDING' else 'COMPLETED' end)::taskwire.task_status, '{}',
    '2026-01-01'::timestamptz + i * interval '1 s',
    case when i <= ${RARE} then '${BATCH}'::uuid end, case when i <= ${RARE} then '${BATCH}'::uuid end
  from generate_series(1, ${TASKS}) i`,
)
await sql(
  'fill_ends',
  `insert into taskwire.transitions (task_id, version, status, attempt) select id, 1, status, 0 from taskwire.tasks where status = 'FAILED'`,
)
await sql(
  'fill_deliveries',
  `insert into taskwire.deliveries (task_id, attempt, due_at) select id, 1, now() from taskwire.tasks where status = 'PENDING'`,
)

function* nodesOf(plan: Plan): Generator<Plan> {
  yield plan
  for (const child of plan.Plans ?? []) yield* nodesOf(child)
}

/** The same database, but it explains each statement before it runs it. */
function explaining(plans: Plan[]): Database {
  return {
    ...db,
    async run<Row>(
      statement: Parameters<Database['run']>[0],
      parameters: Parameters<Database['run']>[1],
    ): Promise<Row[]> {
      const explained = { ...statement, text: `explain (analyze, format json) ${statement.text}` }
      const [row] = await db.run<{ 'QUERY PLAN': { Plan: Plan }[] }>(explained, parameters)
      plans.push(...(row?.['QUERY PLAN'] ?? []).map(({ Plan }) => Plan))
      return db.run<Row>(statement, parameters)
    },
  }
}

/** Counts the rows that scans have read, including discarded ones. */
function countRead(plans: readonly Plan[]): number {
  const scans = plans.flatMap((plan) => [...nodesOf(plan)]).filter((node) => node['Relation Name'] !== undefined)
  return scans.reduce((sum, node) => {
    const rows =
      (node['Actual Rows'] ?? 0) + (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0)
    return sum + rows * (node['Actual Loops'] ?? 1)
  }, 0)
}

const middle = new Date(Date.parse('2026-01-01T00:00:00Z') + (TASKS / 2) * 1_000).toISOString()
const rare = Array.from({ length: RARE }, (_, index) => RARE - index)

/** The filter, the number of rows that it may read, and the tasks that it finds, by their numbers. */
const CASES: [TaskFilter, number, readonly number[] | 'a page'][] = [
  [{}, FEW_ROWS, 'a page'],
  [{ type: 'rare.type' }, FEW_ROWS, rare],
  [{ type: 'common.type' }, FEW_ROWS, 'a page'],
  [{ type: 'no.such' }, FEW_ROWS, []],
  [{ tag: 'rare' }, FEW_ROWS, rare],
  [{ tag: 'common' }, FEW_ROWS, 'a page'],
  [{ tag: 'never' }, FEW_ROWS, []],
  [{ queue: 'rare' }, FEW_ROWS, rare],
  [{ queue: 'busy' }, FEW_ROWS, 'a page'],
  [{ batch: BATCH }, FEW_ROWS, rare],
  [{ parent: BATCH }, FEW_ROWS, rare],
  [{ status: 'FAILED' }, FEW_ROWS, rare],
  [{ status: 'EXPIRED' }, FEW_ROWS, []],
  [{ status: 'PENDING' }, FEW_ROWS, 'a page'],
  [{ status: 'PROCESSING' }, FEW_ROWS, []],
  [{ createdBefore: middle }, FEW_ROWS, 'a page'],
  [{ createdAfter: '2026-01-01T00:00:01Z', createdBefore: '2026-01-01T00:00:03Z' }, FEW_ROWS, [2, 1]],
  [{ createdAfter: '2030-01-01T00:00:00Z' }, FEW_ROWS, []],
  // Two conditions: the list uses the index of the rarer one.
  [{ status: 'FAILED', type: 'common.type' }, SOME_ROWS, []],
  [{ status: 'COMPLETED', tag: 'rare' }, SOME_ROWS, []],
  [{ status: 'PENDING', tag: 'rare' }, SOME_ROWS, []],
  [{ status: 'PENDING', type: 'rare.type' }, SOME_ROWS, []],
  [{ type: 'common.type', tag: 'rare' }, SOME_ROWS, []],
  [{ type: 'rare.type', tag: 'common' }, SOME_ROWS, rare],
  [{ type: 'common.type', tag: 'common', queue: 'rare' }, 2 * SOME_ROWS, []],
  [{ tag: 'rare', createdBefore: middle }, SOME_ROWS, rare],
  [{ type: 'common.type', createdBefore: middle }, SOME_ROWS, 'a page'],
  [{ type: 'rare.type', q: 'rare TITLE' }, FEW_ROWS, rare],
]

for (const state of ['never analyzed', 'analyzed']) {
  t.test(`a list reads a bounded number of rows, of tables that were ${state}`, async (t) => {
    if (state === 'analyzed') await sql('analyze', 'vacuum analyze')
    for (const [filter, most, expected] of CASES) {
      const plans: Plan[] = []
      const { items } = await listPage(DEFAULT_PRINCIPAL, explaining(plans), filter, { limit: LIMIT })
      const name = JSON.stringify(filter)
      const numbers = items.map(({ id }) => Number.parseInt(id.slice(-12), 16))
      if (expected === 'a page') t.equal(numbers.length, LIMIT, name)
      else t.same(numbers, expected, name)
      t.same(
        numbers,
        numbers.toSorted((a, b) => b - a),
        `newest first: ${name}`,
      )
      const read = countRead(plans)
      t.ok(read <= most, `${read} rows read for ${name}`)
      const whole = plans
        .flatMap((plan) => [...nodesOf(plan)])
        .filter((node) => node['Node Type'] === 'Seq Scan')
        .map((node) => node['Relation Name'])
      t.same(whole, [], `no table is read as a whole for ${name}`)
    }
  })
}

t.test('a filter without an index is searched in bounded pages, and its tasks are found', async (t) => {
  const plans: Plan[] = []
  const looks = TASKS / 4
  const numbers: number[] = []
  let position
  let pages = 0
  do {
    const { found, next } = await findTasks(
      DEFAULT_PRINCIPAL,
      pages === 0 ? explaining(plans) : db,
      { q: 'rare', tag: 'common' },
      { limit: 2, position, maxLooks: looks },
    )
    if (pages === 0) t.ok(countRead(plans) < 4 * looks, `${countRead(plans)} rows read for the first page`)
    numbers.push(...found.map(({ id }) => Number.parseInt(id.slice(-12), 16)))
    position = next ?? undefined
    pages += 1
  } while (position !== undefined)
  t.same(numbers, rare)
  t.ok(pages > 3)
})

t.test('pages cover a range of times, with each task once', async (t) => {
  const filter = {
    createdAfter: new Date(Date.parse('2026-01-01T00:00:00Z') + 1_000 * 1_000).toISOString(),
    createdBefore: new Date(Date.parse('2026-01-01T00:00:00Z') + 1_100 * 1_000).toISOString(),
  }
  for (const more of [{}, { type: 'common.type' }]) {
    const numbers: number[] = []
    let position
    do {
      const { items, next } = await listPage(DEFAULT_PRINCIPAL, db, { ...filter, ...more }, { limit: 33, position })
      numbers.push(...items.map(({ id }) => Number.parseInt(id.slice(-12), 16)))
      position = next ?? undefined
    } while (position !== undefined)
    t.same(
      numbers,
      Array.from({ length: 100 }, (_, index) => 1_099 - index),
    )
  }
})
