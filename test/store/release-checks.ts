/** What must hold in a world after each wave of commands, and once all its tasks have ended. */
import type { PauseKind, Per } from '../../src/protocol/release.js'
import type { AttemptRef } from '../../src/store/attempts/claim.js'
import type { WorldScope } from './release-commands.js'

/** An attempt that is counted: leased, or released and not yet claimed. */
interface Active {
  taskId: string
  attempt: number
  isLeased: boolean
  queue: string
  type: string
  tenant: string
  key: string | null
}

interface LimitRow {
  name: string
  queue: string | null
  type: string | null
  tenant: string | null
  per: Per
  concurrency: number | null
  setAt: string
}

interface PauseRow {
  kind: PauseKind
  tenant: string
  name: string
  setAt: string
}

interface Member {
  taskId: string
  sequence: string
}

/** What the rules are about. */
export interface WorldState {
  active: Active[]
  limits: LimitRow[]
  pauses: PauseRow[]
  members: Member[]
}

export const EMPTY: WorldState = { active: [], limits: [], pauses: [], members: [] }

export async function readState(scope: WorldScope): Promise<WorldState> {
  const [row] = await scope.ask<WorldState>(
    'read',
    `select
  (select coalesce(json_agg(json_build_object('taskId', t.id, 'attempt', a.attempt, 'isLeased', a.is_leased, 'queue', t.queue, 'type', t.type, 'tenant', t.tenant, 'key', t.concurrency_key)), '[]')
   from (select task_id, attempt, true as is_leased from taskwire.leases union all select task_id, attempt, false from taskwire.deliveries where is_released) a
   join taskwire.tasks t on t.id = a.task_id where t.tenant like $1) as active,
  (select coalesce(json_agg(json_build_object('name', name, 'queue', queue, 'type', types[1], 'tenant', tenant, 'per', per, 'concurrency', concurrency, 'setAt', set_at)), '[]')
   from taskwire.limits where name like $1) as limits,
  (select coalesce(json_agg(json_build_object('kind', kind, 'tenant', tenant, 'name', name, 'setAt', set_at)), '[]') from taskwire.pauses where name like $1) as pauses,
  (select coalesce(json_agg(json_build_object('taskId', m.task_id, 'sequence', m.tenant || ' ' || m.key) order by m.position), '[]')
   from taskwire.sequence_members m where m.tenant like $1) as members`,
    [scope.all],
  )
  return row ?? EMPTY
}

/** What is wrong after a wave of commands. */
export function findViolations(before: WorldState, now: WorldState): string[] {
  const known = new Set(before.active.map(nameOf))
  const leasedBefore = new Set(before.active.filter(({ isLeased }) => isLeased).map(nameOf))
  const wrong: string[] = []
  for (const limit of now.limits) {
    if (limit.concurrency === null || !before.limits.some(isSame(limit))) continue
    const groups = new Map<string, Active[]>()
    for (const active of now.active.filter((one) => isAbout(limit, one))) {
      const { tenant, key } = active
      const subject = limit.per === 'all' ? '' : limit.per === 'tenant' ? tenant : `${tenant} ${key}`
      groups.set(subject, [...(groups.get(subject) ?? []), active])
    }
    for (const [subject, counted] of groups)
      if (counted.length > limit.concurrency && counted.some((active) => !known.has(nameOf(active))))
        wrong.push(`limit ${JSON.stringify(limit)}: ${counted.length} of "${subject}": ${JSON.stringify(counted)}`)
  }
  for (const pause of now.pauses) {
    if (!before.pauses.some(isSame(pause))) continue
    for (const active of now.active)
      if (active.isLeased && !leasedBefore.has(nameOf(active)) && isHeldBy(pause, active))
        wrong.push(`pause ${JSON.stringify(pause)}: ${JSON.stringify(active)} has started`)
  }
  const first = new Map(now.members.toReversed().map(({ taskId, sequence }) => [sequence, taskId]))
  const sequenceOf = new Map(now.members.map(({ taskId, sequence }) => [taskId, sequence]))
  for (const { taskId, isLeased } of now.active) {
    const sequence = sequenceOf.get(taskId)
    if (isLeased && sequence !== undefined && first.get(sequence) !== taskId)
      wrong.push(`sequence ${sequence}: ${taskId} runs, and ${first.get(sequence)} is first`)
  }
  return wrong
}

/** What is left over when all tasks should have ended, and the state that explains it. Deletes the limits. */
export async function takeLeftOvers(scope: WorldScope): Promise<string[]> {
  const like = [scope.all]
  const rows = await scope.ask<{ line: string }>(
    'left_over',
    `select 'task: ' || row_to_json(x) as line from (
  select t.id, t.status, t.queue, t.type, t.priority, t.concurrency_key, t.sequence_key, row_to_json(d) as delivery, row_to_json(l) as lane, row_to_json(s) as share
  from taskwire.tasks t left join taskwire.deliveries d on d.task_id = t.id left join taskwire.lanes l on l.id = d.lane_id
  left join taskwire.shares s on s.queue = l.queue and s.priority = l.priority and s.tenant = l.tenant
  where t.tenant like $1 and t.finished_at is null limit 3
) x
union all select 'hold: ' || row_to_json(h) from taskwire.holds h where h.limit_name like $1
union all select 'lane: ' || row_to_json(l) from taskwire.lanes l where l.tenant like $1 and (l.is_waiting or l.blocked_by is not null)
union all select 'member: ' || row_to_json(m) from taskwire.sequence_members m where m.tenant like $1 and m.halted_at is null
union all select 'arrival: ' || row_to_json(a) from taskwire.arrivals a where a.tenant like $1`,
    like,
  )
  const limits = await scope.ask<{ line: string }>(
    'limits',
    `select 'limit: ' || row_to_json(l) as line from taskwire.limits l where l.name like $1 union all select 'wake: ' || row_to_json(w) from taskwire.wakes w`,
    like,
  )
  await scope.ask('delete_limits', `delete from taskwire.limits where name like $1`, like)
  return rows.length === 0 ? [] : [...rows, ...limits].map(({ line }) => line)
}

const nameOf = ({ taskId, attempt }: AttemptRef) => `${taskId} ${attempt}`

const isSame = (one: object) => (other: object) => JSON.stringify(one) === JSON.stringify(other)

function isAbout(limit: LimitRow, active: Active): boolean {
  return (
    (limit.queue ?? active.queue) === active.queue &&
    (limit.type ?? active.type) === active.type &&
    (limit.tenant ?? active.tenant) === active.tenant &&
    (limit.per !== 'key' || active.key !== null)
  )
}

function isHeldBy({ kind, tenant, name }: PauseRow, active: Active): boolean {
  return kind === 'key' ? active.tenant === tenant && active.key === name : active[kind] === name
}
