/** Each mechanism of the release is removed from a copy of the source, and a test must detect it. */
import t from 'tap'
import { testMutants, type Mutant } from '../helpers/mutants.js'

const SQL = 'drizzle/0016_release.sql'
const RELEASE = 'test/store/release.test.ts'
const EDGES = 'test/store/release-edges.test.ts'
const FAIR = 'test/store/fair-share.test.ts'
const STARTS = 'test/store/next-starts.test.ts'

const MUTANTS: Mutant[] = [
  {
    without: 'the check of the gate at a claim',
    file: 'src/store/attempts/claim.ts',
    from: "when: `c.gate <> 'closed' and ",
    to: 'when: `',
    test: RELEASE,
  },
  {
    without: 'the lock of the delivery at a claim',
    file: 'src/store/attempts/claim.ts',
    from: `    where d.task_id = any(array[i.id])
    for update`,
    to: `    where d.task_id = any(array[i.id])`,
    test: EDGES,
  },
  {
    without: 'dropping the holds at the end of a lease',
    file: SQL,
    from: 'if not exists (select from ended e where e.has_holds) then',
    to: 'if true then',
    test: RELEASE,
  },
  {
    without: 'the wake when a hold is dropped',
    file: SQL,
    from: 'select distinct taskwire.blocker_of(d.limit_name, d.subject) from dropped d;',
    to: 'select distinct taskwire.blocker_of(d.limit_name, d.subject) from dropped d where false;',
    test: RELEASE,
  },
  {
    without: 'the window: a queue has as many releases as it wants',
    file: SQL,
    from: 'select slots - count(*) into room',
    to: 'select 1000 + slots - count(*) into room',
    test: RELEASE,
  },
  {
    without: 'the order of a sequence',
    file: SQL,
    from: 'where m.tenant = lane.tenant and m.key = lane.sequence_key order by m.position limit 1;\n        is_overtaken',
    to: 'where false;\n        is_overtaken',
    test: RELEASE,
  },
  {
    without: 'the check for one that ran out of turn in a sequence',
    file: SQL,
    from: 'is_overtaken := exists (',
    to: 'is_overtaken := false and exists (',
    test: EDGES,
  },
  {
    without: 'taking the rates at a release',
    file: SQL,
    from: '        perform taskwire.take_rates(lane, cost);\n',
    to: '        null;\n',
    test: RELEASE,
  },
  {
    without: "the tenants' virtual time",
    file: SQL,
    from: 'virtual := greatest(share.tag, virtual);',
    to: 'virtual := 0;',
    test: STARTS,
  },
  {
    without: "the keys' virtual time",
    file: SQL,
    from: 'key_virtual := greatest(lane.tag, share.key_time);',
    to: 'key_virtual := 0;',
    test: STARTS,
  },
  {
    without: 'the other priorities at every eighth release',
    file: SQL,
    from: 'elsif lower_level is not null then',
    to: 'elsif false then',
    test: FAIR,
  },
  {
    without: 'the check of pauses at a claim',
    file: 'src/store/attempts/claim.ts',
    from: "case when d.is_released and not ${isPaused('t')} then",
    to: 'case when d.is_released then',
    test: EDGES,
  },
  {
    without: 'making lanes ready when a pause ends',
    file: SQL,
    from: 'where l.id = first.id and (room is null or first.place <= room)',
    to: 'where l.id = first.id and first.place <= room',
    test: FAIR,
  },
  {
    without: 'the gate when due deliveries are taken',
    file: 'src/store/deliveries/take-due.ts',
    from: "(not d.is_released or taskwire.slots_of(d.queue) = 0) and ${isGated('t')} as is_gated",
    to: 'false as is_gated',
    test: EDGES,
  },
  {
    without: 'the starts chosen before, in the check of a limit',
    file: SQL,
    from: '+ row_number() over (partition by l.name, c.subject order by s.place) >',
    to: '+ 1 >',
    test: STARTS,
  },
  {
    without: 'the check of pauses for starts that are chosen together',
    file: SQL,
    from: 'or has_pauses and exists (',
    to: 'or false and exists (',
    test: STARTS,
  },
  {
    without: "the tenants' virtual time, for starts that are chosen together",
    file: SQL,
    from: 'greatest(s.tag, virtual) as "time"',
    to: 's.tag as "time"',
    test: FAIR,
  },
  {
    without: "the keys' virtual time, for starts that are chosen together",
    file: SQL,
    from: 'greatest(k.tag, t.key_time) as "time"',
    to: 'k.tag as "time"',
    test: STARTS,
  },
  {
    without: 'one start after the other for each key',
    file: SQL,
    from: '\n        and (of_key.lanes[1]).id = l.id',
    to: '',
    test: STARTS,
  },
  {
    without: 'the turns of the lanes of a key',
    file: SQL,
    from: 'k.lanes[n.nth % cardinality(k.lanes) + 1]',
    to: 'k.lanes[1]',
    test: STARTS,
  },
  {
    without: 'the end of what is chosen together before another priority has its turn',
    file: SQL,
    from: 'many := least(many, 7 - current_turn % 8);',
    to: 'null;',
    test: FAIR,
  },
  {
    without: 'room for each queue',
    file: SQL,
    from: 'row_number() over (partition by b.queue order by',
    to: 'row_number() over (order by',
    test: EDGES,
  },
]

await testMutants(t, MUTANTS, { TAP_TIMEOUT: '60' })
