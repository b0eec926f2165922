/**
 * Finds for each create with a debounce key whether a task has the key, and changes that task.
 *
 * Creates of one key wait for each other at the key's row, and then lock the task. From then on it cannot start: either
 * it takes the change, and whichever attempt begins sees it, or it has started before, and the create makes a new task,
 * which takes the row. A start never waits for the row: see the trigger `tasks_drop_debounce`
 * (drizzle/0017_debounce.sql). All rows of keys are locked before the first task, each in one order for all callers, so
 * creates deadlock neither with each other nor with starts.
 *
 * Several creates with one key in a call change the task one after the other, in the order given, and make one version.
 */
import type { Principal } from '../../access/principal.js'
import { toArrayLiteral } from '../../db/array-literal.js'
import type { Statement, Transaction } from '../../db/database.js'
import type { Event } from '../../protocol/stream.js'
import type { TaskId } from '../../protocol/task.js'
import { toTexts } from '../stored-values.js'
import type { NewTask } from './create.js'
import type { Debounce, DebouncedTask } from './debounce.js'
import { editTaskIfWaiting } from './edit.js'

/** What has become of the creates with a debounce key. */
export interface TakenDebounces {
  /** By the id of a create: the task that it has changed. */
  held: Map<TaskId, TaskId>
  /** By the id of a create: the task to be created for it, and for the later ones with its key. */
  fresh: Map<TaskId, NewTask>
  /** To be published after the commit. */
  events: Event[]
  /** Those of `fresh` that later creates change. */
  kept: KeptKey[]
}

interface KeptKey {
  id: TaskId
  type: string
  key: string
  latestAt: string
}

type DebouncedCreate = NewTask & { debounce: Debounce }

interface KeyRow {
  type: string
  key: string
  taskId: TaskId
  latestAt: Date
}

const LOCK_KEYS: Statement = {
  name: 'lock_debounce_keys',
  // The update changes nothing; it locks the row and returns it.
  text: `
insert into taskwire.debounces as d (tenant, type, key, task_id, latest_at)
select $1, r.type, r.key, r.id, now()
from json_to_recordset($2::text::json) as r (type text, key text, id uuid)
order by r.type, r.key
on conflict (tenant, type, key) do update set task_id = d.task_id
returning d.type, d.key, d.task_id as "taskId", d.latest_at as "latestAt"`,
}

const LOCK_TASKS: Statement = {
  name: 'lock_debounced_tasks',
  text: `
select t.id, t.title, t.priority, to_json(t.tags) as tags, t.payload, t.expires_at as "expiresAt", t.queue, t.callback_url as "callbackUrl",
  t.concurrency_key as "concurrencyKey", t.sequence_key as "sequenceKey", coalesce(t.cost, 1) as cost,
  case when t.halts then 'halt' when not t.halts then 'skip' end as "onFailure"
from (select u.id from unnest($1::text::uuid[]) as u (id) order by u.id) i, lateral (
  select *
  from taskwire.tasks t
  where t.id = any(array[i.id]) and t.tenant = $2 and t.status = 'SCHEDULED'
  offset 0
  for update
) t`,
}

/** Asked once the tasks are locked: the transaction may have waited for them. */
const READ_CLOCK: Statement = { name: 'read_clock', text: `select clock_timestamp()::timestamptz(3) as now` }

const KEEP_KEYS: Statement = {
  name: 'keep_debounce_keys',
  text: `
with input as (
  select * from json_to_recordset($2::text::json) as r (type text, key text, id uuid, "latestAt" timestamptz)
), kept as (
  update taskwire.debounces d
  set task_id = i.id, latest_at = i."latestAt"
  from input i
  where d.tenant = $1 and d.type = any(array[i.type]) and d.key = any(array[i.key])
)
update taskwire.tasks t
set debounce_key = i.key
from input i
where t.id = any(array[i.id])`,
}

const DROP_KEYS: Statement = {
  name: 'drop_debounce_keys',
  text: `
delete from taskwire.debounces d
using json_to_recordset($2::text::json) as r (type text, key text)
where d.tenant = $1 and d.type = any(array[r.type]) and d.key = any(array[r.key])`,
}

/**
 * In the transaction that creates the other tasks. `keepDebounces` must follow, after the tasks of `fresh` were created.
 * @throws what a `Debounce` throws
 */
export async function takeDebounces(
  principal: Principal,
  transaction: Transaction,
  tasks: readonly NewTask[],
): Promise<TakenDebounces> {
  const taken: TakenDebounces = { held: new Map(), fresh: new Map(), events: [], kept: [] }
  const groups = groupByKey(tasks)
  if (groups.size === 0) return taken
  const { tenant } = principal
  const keys = [...groups.values()].map(([first]) => ({ type: first.type, key: first.debounce.key, id: first.id }))
  const rows = await transaction.run<KeyRow>(LOCK_KEYS, [tenant, JSON.stringify(keys)])
  const holders = await lockTasks(principal, transaction, rows)
  const [clock] = await transaction.run<{ now: Date }>(READ_CLOCK, [])
  if (clock === undefined) throw new Error('the database did not answer')
  for (const row of rows) {
    const group = groups.get(nameOf(row))
    if (group === undefined) throw new Error(`the store locked another key than ${row.key}`)
    const holder = holders.get(row.taskId)
    if (holder === undefined) prepare(group, clock.now, taken)
    else taken.events.push(...(await change(principal, transaction, group, { holder, ...row, ...clock }, taken)))
  }
  const unused = [...taken.fresh.values()].filter(({ runAt }) => runAt === null)
  if (unused.length > 0) {
    const names = keys.filter(({ id }) => unused.some((task) => task.id === id))
    await transaction.run(DROP_KEYS, [tenant, JSON.stringify(names)])
  }
  return taken
}

/** Later creates find the tasks that were created for these. */
export async function keepDebounces({ tenant }: Principal, transaction: Transaction, kept: KeptKey[]): Promise<void> {
  if (kept.length > 0) await transaction.run(KEEP_KEYS, [tenant, JSON.stringify(kept)])
}

type Group = [DebouncedCreate, ...DebouncedCreate[]]

function groupByKey(tasks: readonly NewTask[]): Map<string, Group> {
  const groups = new Map<string, Group>()
  for (const task of tasks) {
    if (!isDebounced(task)) continue
    const name = nameOf({ type: task.type, key: task.debounce.key })
    const group = groups.get(name)
    if (group === undefined) groups.set(name, [task])
    else group.push(task)
  }
  return groups
}

function isDebounced(task: NewTask): task is DebouncedCreate {
  return task.debounce !== undefined
}

function nameOf({ type, key }: { type: string; key: string }): string {
  return `${type} ${key}`
}

type LockedRow = Omit<DebouncedTask, 'expiresAt' | 'tags'> & { tags: unknown[]; expiresAt: Date | null }

/** The tasks with these keys that have not started, by id. They cannot start before the transaction ends. */
async function lockTasks(
  { tenant }: Principal,
  transaction: Transaction,
  rows: readonly KeyRow[],
): Promise<Map<TaskId, DebouncedTask>> {
  const ids = toArrayLiteral(rows.map(({ taskId }) => taskId))
  const locked = await transaction.run<LockedRow>(LOCK_TASKS, [ids, tenant])
  return new Map(
    locked.map(({ tags, expiresAt, ...task }) => [
      task.id,
      { ...task, tags: toTexts(tags), expiresAt: expiresAt?.toISOString() ?? null },
    ]),
  )
}

/** The task as the creates leave it, one after the other, and its start. */
function applyAll(
  group: Group,
  holder: DebouncedTask | undefined,
  now: Date,
  latestAt: Date,
): { task: DebouncedTask; startsAt: Date } {
  const [first] = group
  let task = holder
  let startsAt = now
  for (const { debounce } of group) {
    startsAt = new Date(Math.min(now.getTime() + debounce.delayMs, latestAt.getTime()))
    const fields = debounce.apply(task, startsAt)
    task = { ...(task ?? settle(first)), ...fields }
  }
  if (task === undefined) throw new Error('a group of creates is empty')
  return { task, startsAt }
}

function settle(task: NewTask): DebouncedTask {
  const { id, title, priority, tags, payload, queue, more } = task
  const { callbackUrl = null, concurrencyKey = null, sequenceKey = null, onFailure = 'halt', cost = 1 } = more ?? {}
  const settled = { callbackUrl, concurrencyKey, sequenceKey, onFailure: sequenceKey === null ? null : onFailure, cost }
  return { id, title, priority, tags, payload, expiresAt: more?.expiresAt ?? null, queue, ...settled }
}

/** No task has the key: one is to be created. */
function prepare(group: Group, now: Date, { held, fresh, kept }: TakenDebounces): void {
  const [first, ...others] = group
  const { id, type, debounce } = first
  const latestAt = new Date(now.getTime() + debounce.maxDelayMs)
  const { task, startsAt } = applyAll(group, undefined, now, latestAt)
  const { title, priority, tags, payload, expiresAt } = task
  // Started at once it can be changed by no later create.
  const isLater = startsAt > now
  fresh.set(id, {
    ...first,
    title,
    priority,
    tags,
    payload,
    runAt: isLater ? startsAt.toISOString() : null,
    delayMs: null,
    debounce: undefined,
    more: { ...first.more, expiresAt: expiresAt ?? undefined },
  })
  for (const other of others) held.set(other.id, id)
  if (isLater) kept.push({ id, type, key: debounce.key, latestAt: latestAt.toISOString() })
}

/** Changes the task that has the key. Its row stays as it is. */
async function change(
  principal: Principal,
  transaction: Transaction,
  group: Group,
  { holder, now, latestAt }: { holder: DebouncedTask; now: Date; latestAt: Date },
  { held }: TakenDebounces,
): Promise<Event[]> {
  const { task, startsAt } = applyAll(group, holder, now, latestAt)
  const { id, title, priority, tags, payload, expiresAt } = task
  const edit = { title, priority, tags, payload, expiresAt, runAt: startsAt.toISOString() }
  const events = await editTaskIfWaiting(principal, transaction, id, edit)
  if (events === undefined) throw new Error(`the task ${id} has changed although it is locked`)
  for (const create of group) held.set(create.id, id)
  return events
}
