/** The commands of the model test of the release, which may run at any time, on a few queues, tenants, types and keys. */
import { retryConflicts } from '../../src/db/conflict.js'
import type { Database } from '../../src/db/database.js'
import type { PauseKind, Per } from '../../src/protocol/release.js'
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
  | { kind: 'setPause' | 'removePause'; of: PauseKind; index: number }

/** `open`: the creator does not know that it may be held. */
type Way = 'open' | 'gated' | 'scheduled' | 'expiring'

export interface LimitShape {
  of: 'queue' | 'type' | 'tenant' | 'any'
  index: number
  per: Per
  bound: { concurrency: number } | { rate: number; whenOver: 'delay' | 'skip' } | { ramp: true }
}

let worlds = 0

/** The names of one world in a database that several share. */
export class WorldScope {
  readonly db: Database
  readonly #name = `w${(worlds += 1)}`
  /** For `like`: all names of this world. */
  readonly all = `${this.#name}-%`

  constructor(db: Database) {
    this.db = db
  }

  of(kind: string, index: number): string {
    return `${this.#name}-${kind}${index % 2}`
  }

  ask<Row>(name: string, text: string, values: readonly (string | number | null)[] = []): Promise<Row[]> {
    return this.db.run<Row>({ name: `world_${name}`, text }, [...values])
  }
}

export class WorldCommands {
  readonly #scope: WorldScope
  readonly #tasks: { id: string; tenant: string }[] = []
  /** As jobs of a broker that forgets none. */
  readonly #dispatched: AttemptRef[] = []
  readonly #running: AttemptRef[] = []

  constructor(scope: WorldScope) {
    this.#scope = scope
  }

  async run(command: Command): Promise<void> {
    switch (command.kind) {
      case 'create':
        return this.#create(command)
      case 'release': {
        const { deliveries } = await releaseDeliveries(this.#scope.db, 1)
        this.#dispatched.push(...deliveries)
        return
      }
      case 'expire':
        await expireTasksIfLate(this.#scope.db, 100)
        return
      case 'claim':
        return this.#claim(pick(this.#dispatched, command.pick))
      case 'cancel': {
        // Several at once, in an order of the caller's: none may deadlock.
        const chosen = [0, 1, 2].map((step) => pick(this.#tasks, command.pick + step * 3))
        for (const tenant of new Set(chosen.map((task) => task?.tenant ?? '')))
          await cancelTasksIfUnfinished(
            { tenant, id: 'test' } as never,
            this.#scope.db,
            chosen.flatMap((task) => (task?.tenant === tenant ? [task.id] : [])),
            { reason: null, withChildren: false },
          )
        return
      }
      case 'edit': {
        const task = pick(this.#tasks, command.pick)
        if (task)
          await editTaskIfWaiting({ tenant: task.tenant } as never, this.#scope.db, task.id, {
            priority: command.priority,
          })
        return
      }
      case 'take': {
        const { deliveries } = await takeDueDeliveries(this.#scope.db, this.#scope.of('q', command.queue), 10, 1)
        this.#dispatched.push(...deliveries)
        return
      }
      case 'heartbeat':
        return this.heartbeat(command.queue, command.slots, command.isStopping)
      case 'setLimit':
        return this.#setLimit(command.name, command.limit)
      case 'removeLimit':
        await this.#scope.ask('remove_limit', removing(`delete from taskwire.limits where name = $1 returning 1`), [
          this.#scope.of('limit', command.name),
        ])
        return
      case 'setPause':
        await this.#scope.ask(
          'set_pause',
          `insert into taskwire.pauses (kind, tenant, name, set_by) values ($1, $2, $3, 'test') on conflict do nothing`,
          this.#pause(command),
        )
        return
      case 'removePause':
        await this.#scope.ask(
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
    return [of, of === 'key' ? this.#scope.of('t', index) : '', this.#scope.of(letter, index)]
  }

  async #create({ queue, tenant, type, priority, more, way, count }: Command & { kind: 'create' }): Promise<void> {
    const named = {
      ...more,
      ...(more?.concurrencyKey && { concurrencyKey: this.#scope.of('k', Number(more.concurrencyKey)) }),
      ...(more?.sequenceKey && { sequenceKey: this.#scope.of('s', Number(more.sequenceKey)) }),
      ...(way === 'expiring' && { expiresAt: new Date(Date.now() + 20).toISOString() }),
    }
    const tasks = Array.from({ length: count }, () =>
      newTask({
        queue: this.#scope.of('q', queue),
        tenant: this.#scope.of('t', tenant),
        type: this.#scope.of('y', type),
        priority,
        maxAttempts: 100,
        more: named,
        isHandedOver: way === 'open',
        isGated: way === 'gated' || more?.concurrencyKey !== undefined || more?.sequenceKey !== undefined,
        delayMs: way === 'scheduled' ? 10 : null,
      }),
    )
    await createTasks(this.#scope.db, tasks, 1)
    this.#tasks.push(...tasks)
    // A broker may hold a job of any of them, too early or too late.
    this.#dispatched.push(...tasks.map(({ id }) => ({ taskId: id, attempt: 1 })))
  }

  async #claim(ref: AttemptRef | undefined): Promise<void> {
    if (ref === undefined) return
    const [claimed] = await claimAttemptsIfDue(this.#scope.db, [ref], 'w', 60_000)
    if (claimed !== undefined && 'id' in claimed) this.#running.push(ref)
  }

  async #end(ref: AttemptRef | undefined, ending: keyof typeof ENDINGS): Promise<void> {
    if (ref) await settleAttemptsIfCurrent(this.#scope.db, [{ ...ref, ...ENDINGS[ending] }])
  }

  /** A heartbeat of the worker of a queue. */
  async heartbeat(queue: number, slots: number, isStopping: boolean): Promise<void> {
    const name = this.#scope.of('q', queue)
    await recordHeartbeat(
      this.#scope.db,
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

  /** As `putLimit` does: running attempts count, and everything that is blocked is checked again. */
  async #setLimit(name: number, { of, index, per, bound }: LimitShape): Promise<void> {
    const scope = (kind: LimitShape['of'], letter: string) => (of === kind ? this.#scope.of(letter, index) : null)
    const rate = 'rate' in bound ? bound : undefined
    // Without a scope it would be about other worlds, too.
    const tenant = scope('tenant', 't') ?? (of === 'any' ? this.#scope.of('t', index) : null)
    const values = [
      this.#scope.of('limit', name),
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
      this.#scope.db.transaction(async (transaction) => {
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

/** A limit is removed, and everything that is blocked is checked again. */
function removing(text: string): string {
  return `with gone as (${text}) insert into taskwire.wakes (blocked_by) select '*' from gone`
}

function pick<Item>(items: readonly Item[], index: number): Item | undefined {
  // The newest more often: the others have mostly ended.
  return items[items.length - 1 - (index % Math.max(1, items.length))]
}
