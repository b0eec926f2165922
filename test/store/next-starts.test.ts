/**
 * The release chooses starts that nothing can hold together, by one statement. They are those, in that order, that it
 * chooses one by one, whatever the shares, weights, limits, pauses and priorities.
 */
import fc from 'fast-check'
import t from 'tap'
import type { Statement } from '../../src/db/database.js'
import { atDepth } from '../helpers/depth.js'
import { openReleaseStore } from '../helpers/release-store.js'

const { db, run, openQueue, store } = await openReleaseStore(t)

const TYPES = ['demo.sleep', 'report.generate']
const PRIORITIES = [0, 5, 9]

/** No two are the same, or the order of some starts would be open. */
const differ = (values: readonly number[]) => values.map((value, index) => value / 100 + index * 0.000_137)
const differing = (count: number, most: number) =>
  fc.array(fc.integer({ min: 30, max: most * 100 }), { minLength: count, maxLength: count }).map(differ)

const world = fc.record({
  slots: fc.integer({ min: 4, max: 40 }),
  groups: fc.array(
    fc.record({
      tenant: fc.nat({ max: 2 }),
      key: fc.option(fc.nat({ max: 2 }), { nil: undefined }),
      type: fc.nat({ max: 1 }),
      priority: fc.constantFrom(0, 0, 0, 1, 2),
      count: fc.integer({ min: 1, max: 12 }),
    }),
    { minLength: 1, maxLength: 14 },
  ),
  tags: differing(9, 3),
  laneTags: differing(14, 3),
  /** Of three tenants, and of three keys of each. */
  weights: differing(12, 4),
  /** What has a tag below this has not used its share. */
  virtualTime: fc.constantFrom(0, 1.5),
  perKey: fc.constantFrom(undefined, 1, 3, 10),
  perTenant: fc.constantFrom(undefined, 4, 10),
  ofType: fc.constantFrom(undefined, 2, 10),
  isPaused: fc.boolean(),
})

type World = typeof world extends fc.Arbitrary<infer Value> ? Value : never

/** A small world, in which one thing decides. */
const simple = (
  groups: [tenant: number, key: number | undefined, type: number, priority: number, count: number][],
  more: Partial<World> = {},
): [World] => [
  {
    slots: 4,
    groups: groups.map(([tenant, key, type, priority, count]) => ({
      tenant,
      key,
      type,
      priority: priority as 0,
      count,
    })),
    tags: differ(Array.from({ length: 9 }, () => 30)),
    laneTags: differ(Array.from({ length: 14 }, () => 30)),
    weights: differ(Array.from({ length: 12 }, () => 30)),
    virtualTime: 0,
    ...{ perKey: undefined, perTenant: undefined, ofType: undefined, isPaused: false },
    ...more,
  },
]

/** Random worlds seldom depend on these. */
const EXAMPLES = [
  // A key that has not used its share: without the virtual time, another one starts.
  simple(
    [
      [2, 0, 0, 2, 1],
      [0, undefined, 0, 0, 1],
      [2, undefined, 0, 2, 2],
      [0, undefined, 0, 2, 1],
    ],
    { virtualTime: 1.5, laneTags: differ(Array.from({ length: 14 }, (_, index) => (index === 3 ? 130 : 30))) },
  ),
  // Two lanes of one key: they take turns, and count as one key.
  simple([
    [2, undefined, 1, 2, 1],
    [2, undefined, 0, 2, 3],
    [0, undefined, 0, 0, 1],
  ]),
  simple([
    [0, undefined, 1, 0, 1],
    [0, undefined, 0, 0, 3],
  ]),
  // A paused tenant beside another.
  simple(
    [
      [1, undefined, 0, 0, 1],
      [0, undefined, 0, 0, 3],
    ],
    { isPaused: true },
  ),
]

const RELEASE: Statement = {
  name: 'release_some',
  text: `select r.task_id as id, t.tenant, t.type, t.priority, t.concurrency_key as key
from taskwire.release_deliveries($1::integer, 60000) r join taskwire.tasks t on t.id = r.task_id`,
}

class Undo extends Error {}

t.test('starts that are chosen together are those that are chosen one by one', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      world,
      async ({ slots, groups, tags, laneTags, weights, perKey, perTenant, ofType, isPaused, virtualTime }) => {
        const queue = await openQueue(slots)
        const name = `w-${queue}`
        const tenantOf = (index: number) => `${name}-${index}`
        for (const { tenant, key, type, priority, count } of groups)
          await store(count, {
            queue,
            tenant: tenantOf(tenant),
            type: TYPES[type] ?? '',
            priority: PRIORITIES[priority] ?? 0,
            ...(key === undefined ? {} : { more: { concurrencyKey: `${key}` } }),
          })
        const limit = (suffix: string, columns: string, values: string) =>
          run(
            `insert into taskwire.limits (name, queue, set_by, ${columns}) values ('${name}${suffix}', '${queue}', 'test', ${values})`,
          )
        if (perKey !== undefined) await limit('-key', 'per, concurrency', `'key', ${perKey}`)
        if (perTenant !== undefined) await limit('-tenant', 'per, concurrency', `'tenant', ${perTenant}`)
        if (ofType !== undefined) await limit('-type', 'types, concurrency', `'{${TYPES[0]}}', ${ofType}`)
        if (isPaused)
          await run(`insert into taskwire.pauses (kind, name, set_by) values ('tenant', '${tenantOf(1)}', 'test')`)
        for (const [index, each] of weights.entries()) {
          const [kind, key] = index < 3 ? ['tenant', ''] : ['key', `${Math.floor(index / 3) - 1}`]
          await run(
            `insert into taskwire.weights (kind, tenant, key, weight, set_by) values ('${kind}', '${tenantOf(index % 3)}', '${key}', ${each}, 'test')`,
          )
        }
        // As if other tasks had started before.
        await run(`with gone as (delete from taskwire.arrivals returning *), lane as (
  insert into taskwire.lanes (id, queue, tenant, type, priority, key, sequence_key)
  select distinct lane_id, queue, tenant, type, priority, key, sequence_key from gone
) insert into taskwire.shares (queue, priority, tenant) select distinct queue, priority, tenant from gone`)
        const list = (values: readonly number[]) => `(array[${values.join()}]::float8[])`
        await run(
          `insert into taskwire.levels (queue, priority, time) select '${queue}', unnest('{0,5,9}'::smallint[]), ${virtualTime}`,
        )
        await run(`update taskwire.shares s set key_time = ${virtualTime}, tag = ${list(tags)}[n.n]
from (select priority, tenant, row_number() over (order by tenant, priority) as n from taskwire.shares where queue = '${queue}') n
where s.queue = '${queue}' and s.priority = n.priority and s.tenant = n.tenant`)
        await run(`update taskwire.lanes l set tag = ${list(laneTags)}[n.n], released_at = now() - n.n * interval '1 s'
from (select id, row_number() over (order by tenant, priority, key, type) as n from taskwire.lanes where queue = '${queue}') n where l.id = n.id`)

        let together: unknown[] = []
        await db
          .transaction(async (transaction) => {
            together = await transaction.run(RELEASE, [200])
            throw new Undo()
          })
          .catch((error: unknown) => {
            if (!(error instanceof Undo)) throw error
          })
        const oneByOne: unknown[] = []
        for (;;) {
          const next = await db.run(RELEASE, [1])
          if (next.length === 0) break
          oneByOne.push(...next)
        }
        await run(
          `with w as (delete from taskwire.workers), l as (delete from taskwire.limits), p as (delete from taskwire.pauses) delete from taskwire.weights`,
        )
        t.strictSame(together, oneByOne, `${together.length} starts`)
        if (JSON.stringify(together) !== JSON.stringify(oneByOne)) throw new Error('another order')
      },
    ),
    { numRuns: atDepth(40, 400), examples: EXAMPLES },
  )
})
