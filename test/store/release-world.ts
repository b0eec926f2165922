/**
 * A small world for the model test of the release: a few queues, tenants, types and keys with names of their own, the
 * commands that anyone may run on them at any time, and what must hold after each wave of commands.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { retryConflicts } from '../../src/db/conflict.js'
import type { Database } from '../../src/db/database.js'
import { claimAttemptsIfDue, type AttemptRef } from '../../src/store/attempts/claim.js'
import { settleAttemptsIfCurrent } from '../../src/store/attempts/settle.js'
import { takeDueDeliveries } from '../../src/store/deliveries/take-due.js'
import { releaseDeliveries } from '../../src/store/release/release.js'
import { cancelTasksIfUnfinished } from '../../src/store/tasks/cancel.js'
import { createTasks, type NewTask } from '../../src/store/tasks/create.js'
import { editTaskIfWaiting } from '../../src/store/tasks/edit.js'
import { expireTasksIfLate } from '../../src/store/tasks/expire.js'
import { recordHeartbeat } from '../../src/store/workers.js'
import { newTask } from '../helpers/database.js'

export const ENDINGS = {
  complete: { outcome: 'completed', status: 'COMPLETED', reason: null, result: null },
  fail: { outcome: 'failed', status: 'FAILED', reason: 'no' },
  putBack: { outcome: 'released', status: 'PENDING', reason: 'handed back' },
  lose: { outcome: 'lost', status: 'PENDING', reason: 'worker lost' },
  retry: { outcome: 'failed', status: 'RETRYING', reason: 'no', retryInMs: 5 },
} as const

export type Command =
  | {
      kind: 'create'
      queue: number
      tenant: number
      type: number
      more: NewTask['more']
      priority: number
      way: Way
      count: number
    }
  | { kind: 'release' | 'expire' }
  | { kind: 'claim' | 'cancel' | keyof typeof ENDINGS; pick: number }
  | { kind: 'edit'; pick: number; priority: number }
  | { kind: 'take'; queue: number }
  | { kind: 'heartbeat'; queue: number; slots: number; isStopping: boolean }
  | { kind: 'setLimit'; name: number; limit: LimitShape }
  | { kind: 'removeLimit'; name: number }
  | { kind: 'setPause' | 'removePause'; of: 'queue' | 'type' | 'tenant' | 'key'; index: number }

/** `open`: the creator does not know that it may be held. */
type Way = 'open' | 'gated' | 'scheduled' | 'expiring'

export interface LimitShape {
  of: 'queue' | 'type' | 'tenant' | 'any'
  index: number
  per: 'all' | 'tenant' | 'key'
  bound: { concurrency: number } | { rate: number; whenOver: 'delay' | 'skip' } | { ramp: true }
}

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
  per: 'all' | 'tenant' | 'key'
  concurrency: number | null
  setAt: string
}

interface PauseRow {
  kind: 'queue' | 'type' | 'tenant' | 'key'
  tenant: string
  name: string
  setAt: string
}

let worlds = 0

export class ReleaseWorld {
  readonly #db: Database
  readonly #name = `w${(worlds += 1)}`
  readonly #tasks: { id: string; tenant: string }[] = []
  /** As jobs of a broker that forgets none. */
  readonly #dispatched: AttemptRef[] = []
  readonly #running: AttemptRef[] = []
  #before: { active: Active[]; limits: LimitRow[]; pauses: PauseRow[] } = { active: [], limits: [], pauses: [] }

  constructor(db: Database) {
    this.#db = db
  }

  #of(kind: string, index: number): string {
    return `${this.#name}-${kind}${index % 2}`
  }

  #ask<Row>(name: string, text: string, values: readonly (string | number | null)[] = []): Promise<Row[]> {
    return this.#db.run<Row>({ name: `world_${name}`, text }, [...values])
  }

  async run(command: Command): Promise<void> {
    switch (command.kind) {
      case 'create':
        return this.#create(command)
      case 'release': {
        const { deliveries } = await releaseDeliveries(this.#db, 1)
        this.#dispatched.push(...deliveries)
        return
      }
      case 'expire':
        await expireTasksIfLate(this.#db, 100)
        return
      case 'claim':
        return this.#claim(pick(this.#dispatched, command.pick))
      case 'cancel': {
        // Several at once, in an order of the caller's: nobody may deadlock.
        const chosen = [0, 1, 2].map((step) => pick(this.#tasks, command.pick + step * 3))
        for (const tenant of new Set(chosen.map((task) => task?.tenant ?? '')))
          await cancelTasksIfUnfinished(
            { tenant, id: 'test' } as never,
            this.#db,
            chosen.flatMap((task) => (task?.tenant === tenant ? [task.id] : [])),
            { reason: null, withChildren: false },
          )
        return
      }
      case 'edit': {
        const task = pick(this.#tasks, command.pick)
        if (task)
          await editTaskIfWaiting({ tenant: task.tenant } as never, this.#db, task.id, { priority: command.priority })
        return
      }
      case 'take': {
        const { deliveries } = await takeDueDeliveries(this.#db, this.#of('q', command.queue), 10, 1)
        this.#dispatched.push(...deliveries)
        return
      }
      case 'heartbeat':
        return this.#heartbeat(command.queue, command.slots, command.isStopping)
      case 'setLimit':
        return this.#setLimit(command.name, command.limit)
      case 'removeLimit':
        await this.#ask('remove_limit', removing(`delete from taskwire.limits where name = $1 returning 1`), [
          this.#of('limit', command.name),
        ])
        return
      case 'setPause':
        await this.#ask(
          'set_pause',
          `insert into taskwire.pauses (kind, tenant, name, set_by) values ($1, $2, $3, 'test') on conflict do nothing`,
          this.#pause(command),
        )
        return
      case 'removePause':
        await this.#ask(
          'remove_pause',
          `with gone as (delete from taskwire.pauses where kind = $1 and tenant = $2 and name = $3 returning *)
insert into taskwire.wakes (blocked_by) select 'pause ' || kind || ' ' || tenant || ' ' || name from gone`,
          this.#pause(command),
        )
        return
      default:
        return this.#end(pick(this.#running, command.pick), command.kind)
    }
  }

  #pause({ of, index }: { of: string; index: number }): string[] {
    const letter = { queue: 'q', type: 'y', tenant: 't', key: 'k' }[of] ?? ''
    return [of, of === 'key' ? this.#of('t', index) : '', this.#of(letter, index)]
  }

  async #create({ queue, tenant, type, priority, more, way, count }: Command & { kind: 'create' }): Promise<void> {
    const named = {
      ...more,
      ...(more?.concurrencyKey && { concurrencyKey: this.#of('k', Number(more.concurrencyKey)) }),
      ...(more?.sequenceKey && { sequenceKey: this.#of('s', Number(more.sequenceKey)) }),
      ...(way === 'expiring' && { expiresAt: new Date(Date.now() + 20).toISOString() }),
    }
    const tasks = Array.from({ length: count }, () =>
      newTask({
        queue: this.#of('q', queue),
        tenant: this.#of('t', tenant),
        type: this.#of('y', type),
        priority,
        maxAttempts: 100,
        more: named,
        isHandedOver: way === 'open',
        isGated: way === 'gated' || more?.concurrencyKey !== undefined || more?.sequenceKey !== undefined,
        delayMs: way === 'scheduled' ? 10 : null,
      }),
    )
    await createTasks(this.#db, tasks, 1)
    this.#tasks.push(...tasks)
    // A broker may hold a job of any of them, too early or too late.
    this.#dispatched.push(...tasks.map(({ id }) => ({ taskId: id, attempt: 1 })))
  }

  async #claim(ref: AttemptRef | undefined): Promise<void> {
    if (ref === undefined) return
    const [claimed] = await claimAttemptsIfDue(this.#db, [ref], 'w', 60_000)
    if (claimed !== undefined && 'id' in claimed) this.#running.push(ref)
  }

  async #end(ref: AttemptRef | undefined, ending: keyof typeof ENDINGS): Promise<void> {
    if (ref) await settleAttemptsIfCurrent(this.#db, [{ ...ref, ...ENDINGS[ending] }])
  }

  async #heartbeat(queue: number, slots: number, isStopping: boolean): Promise<void> {
    const name = this.#of('q', queue)
    await recordHeartbeat(
      this.#db,
      {
        id: `worker-${name}`,
        host: 'h',
        pid: 1,
        version: '0',
        types: [],
        queues: [{ name, slots, running: 0 }],
        isStopping,
        isDraining: false,
      },
      600_000,
    )
  }

  /** As the one who sets limits does: what runs already counts, and everything that is blocked is looked at again. */
  async #setLimit(name: number, { of, index, per, bound }: LimitShape): Promise<void> {
    const scope = (kind: LimitShape['of'], letter: string) => (of === kind ? this.#of(letter, index) : null)
    const rate = 'rate' in bound ? bound : undefined
    // Without a scope it would be about other worlds, too.
    const tenant = scope('tenant', 't') ?? (of === 'any' ? this.#of('t', index) : null)
    const values = [
      this.#of('limit', name),
      scope('queue', 'q'),
      scope('type', 'y'),
      tenant,
      per,
      'concurrency' in bound ? bound.concurrency : null,
      rate?.rate ?? null,
      rate === undefined ? null : 40,
      rate === undefined ? null : 2,
      rate?.whenOver ?? 'delay',
      'ramp' in bound ? new Date().toISOString() : null,
    ]
    await retryConflicts(() =>
      this.#db.transaction(async (transaction) => {
        for (const text of [
          'select from taskwire.release_turns for update',
          'lock table taskwire.leases in share row exclusive mode',
        ])
          await transaction.run({ name: `world_${text.slice(0, 4)}`, text }, [])
        await transaction.run(
          {
            name: 'world_set_limit',
            text: `insert into taskwire.limits (name, queue, types, tenant, per, concurrency, rate, period_ms, burst, when_over, ramp_since, set_by)
values ($1, $2, case when $3::text is not null then array[$3::text] end, $4, $5, $6::text::integer, $7::text::integer, $8::text::double precision, $9::text::integer, $10, $11::text::timestamptz, 'test')
on conflict (name) do update set queue = excluded.queue, types = excluded.types, tenant = excluded.tenant, per = excluded.per, concurrency = excluded.concurrency,
  rate = excluded.rate, period_ms = excluded.period_ms, burst = excluded.burst, when_over = excluded.when_over, ramp_since = excluded.ramp_since, set_at = clock_timestamp()`,
          },
          values.map((value) => (value === null ? null : String(value))),
        )
        await transaction.run({ name: 'world_drop_holds', text: 'delete from taskwire.holds where limit_name = $1' }, [
          values[0] ?? null,
        ])
        await transaction.run({ name: 'world_count_running', text: COUNT_RUNNING }, [values[0] ?? null])
        await transaction.run(
          { name: 'world_wake_all', text: `insert into taskwire.wakes (blocked_by) values ('*')` },
          [],
        )
      }),
    )
  }

  async #read(): Promise<{ active: Active[]; limits: LimitRow[]; pauses: PauseRow[]; members: Member[] }> {
    const [row] = await this.#ask<{ active: Active[]; limits: LimitRow[]; pauses: PauseRow[]; members: Member[] }>(
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
      [`${this.#name}-%`],
    )
    return row ?? { active: [], limits: [], pauses: [], members: [] }
  }

  /** What is wrong after a wave of commands. */
  async check(): Promise<string[]> {
    const now = await this.#read()
    const known = new Set(this.#before.active.map(nameOf))
    const leasedBefore = new Set(this.#before.active.filter(({ isLeased }) => isLeased).map(nameOf))
    const wrong: string[] = []
    for (const limit of now.limits) {
      if (limit.concurrency === null || !this.#before.limits.some(isSame(limit))) continue
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
      if (!this.#before.pauses.some(isSame(pause))) continue
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
    this.#before = now
    return wrong
  }

  /** Ends everything that prevents tasks from ending, except limits. Returns what is left over. */
  async drain(): Promise<string[]> {
    await this.#ask(
      'end_pauses',
      `with gone as (delete from taskwire.pauses where name like $1 returning *)
insert into taskwire.wakes (blocked_by) select 'pause ' || kind || ' ' || tenant || ' ' || name from gone`,
      [`${this.#name}-%`],
    )
    for (const queue of [0, 1]) await this.#heartbeat(queue, 2, false)
    let left = await this.#count()
    for (let idle = 0; left > 0 && idle < 150; idle += 1) {
      await this.#step()
      const now = await this.#count()
      if (now < left) idle = 0
      left = now
      if (idle > 0) await sleep(10)
    }
    await this.#continueSequences()
    // The wakes of the last ends.
    for (let round = 0; round < 3; round += 1) await this.run({ kind: 'release' })
    return this.#leftOver()
  }

  /** As people do whose sequences have halted: at an expired task, too. */
  async #continueSequences(): Promise<void> {
    await this.#ask(
      'continue_sequences',
      `with gone as (delete from taskwire.sequence_members where halted_at is not null and tenant like $1 returning *)
insert into taskwire.wakes (blocked_by) select 'sequence ' || tenant || ' ' || key from gone`,
      [`${this.#name}-%`],
    )
  }

  async #step(): Promise<void> {
    await this.#continueSequences()
    await this.run({ kind: 'expire' })
    for (const queue of [0, 1]) await this.run({ kind: 'take', queue })
    await this.run({ kind: 'release' })
    const offered = await this.#ask<AttemptRef>(
      'offered',
      `select d.task_id as "taskId", d.attempt from taskwire.deliveries d
where d.tenant like $1 and (d.is_released or d.lane_id is null and d.hand_overs > 0) order by d.task_id`,
      [`${this.#name}-%`],
    )
    await claimAttemptsIfDue(this.#db, offered, 'w', 60_000)
    const leased = await this.#ask<AttemptRef>(
      'leased',
      `select task_id as "taskId", attempt from taskwire.leases where tenant like $1 order by task_id`,
      [`${this.#name}-%`],
    )
    await settleAttemptsIfCurrent(
      this.#db,
      leased.map((ref) => ({ ...ref, ...ENDINGS.complete })),
    )
  }

  async #count(): Promise<number> {
    const [row] = await this.#ask<{ count: number }>(
      'count',
      `select count(*)::integer as count from taskwire.tasks where tenant like $1 and finished_at is null`,
      [`${this.#name}-%`],
    )
    return row?.count ?? 0
  }

  async #leftOver(): Promise<string[]> {
    const like = [`${this.#name}-%`]
    const rows = await this.#ask<{ line: string }>(
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
    const limits = await this.#ask<{ line: string }>(
      'limits',
      `select 'limit: ' || row_to_json(l) as line from taskwire.limits l where l.name like $1 union all select 'wake: ' || row_to_json(w) from taskwire.wakes w`,
      like,
    )
    await this.#ask('delete_limits', `delete from taskwire.limits where name like $1`, like)
    return rows.length === 0 ? [] : [...rows, ...limits].map(({ line }) => line)
  }
}

interface Member {
  taskId: string
  sequence: string
}

const COUNT_RUNNING = `
with released as (
  -- Locked: one that is cancelled meanwhile must not be counted.
  select task_id from taskwire.deliveries where is_released order by task_id for update
), active as (
  select task_id from taskwire.leases union all select task_id from released
), held as (
  insert into taskwire.holds (limit_name, subject, task_id)
  select l.name, taskwire.subject_of(l.per, t.tenant, coalesce(t.concurrency_key, '')), t.id
  from active a join taskwire.tasks t on t.id = a.task_id, taskwire.limits l
  where l.name = $1 and l.rate is null and (l.types is null or t.type = any(l.types)) and (l.queue is null or l.queue = t.queue)
    and (l.tenant is null or l.tenant = t.tenant) and (l.per <> 'key' or t.concurrency_key is not null)
  returning task_id
)
update taskwire.leases l set has_holds = true from held h where l.task_id = h.task_id`

/** A limit is removed, and everything that is blocked is looked at again. */
function removing(text: string): string {
  return `with gone as (${text}) insert into taskwire.wakes (blocked_by) select '*' from gone`
}

function pick<Item>(items: readonly Item[], index: number): Item | undefined {
  // The newest more often: the others have mostly ended.
  return items[items.length - 1 - (index % Math.max(1, items.length))]
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
