/** Makes the slots of schedules: those that are due, one now, or those of a period. Needs no types: see `TaskTemplate`. */
import { createHash } from 'node:crypto'
import { serviceOf } from '../access/principal.js'
import { crashPoint } from '../crash-point.js'
import { isConflict, retryConflicts } from '../db/conflict.js'
import type { Database, Transaction } from '../db/database.js'
import { isUnavailable } from '../db/unavailable.js'
import { createChecker } from '../definitions/schema-errors.js'
import { describeError } from '../definitions/thrown.js'
import { ScheduleSpec, type SlotOrigin } from '../protocol/schedule.js'
import type { Event } from '../protocol/stream.js'
import type { TaskId } from '../protocol/task.js'
import type { ScheduleRow } from '../store/schedules/rows.js'
import {
  moveSchedules,
  readHistories,
  listDueSchedules,
  takeDueSchedules,
  takeSchedule,
  writeSlots,
  type LockedSchedule,
  type NewSlot,
  type ScheduleHistory,
  type ScheduleMove,
} from '../store/schedules/make-slots.js'
import { stopSchedule } from '../store/schedules/write.js'
import { cancelTasksIfUnfinished } from '../store/tasks/cancel.js'
import { createUniqueTasksIn } from '../store/tasks/create-unique.js'
import {
  createTasksStatement,
  toCreatedTask,
  type CreateAnswer,
  type CreatedTask,
  type NewTask,
} from '../store/tasks/create.js'
import { createTaskId } from '../tasks/create/task-id.js'
import { findDueSlots, planSlots, type PlannedSlot } from './plan-slots.js'
import { nextSlot } from './slots.js'

/** The author of tasks, cancellations and pauses of a schedule. */
const authorOf = (name: string) => `schedule:${name}`

const specs = createChecker(ScheduleSpec)

/** How many schedules one transaction handles. */
const MAX_TAKEN = 200
/** After so many slots, one transaction takes no further schedule. */
const MAX_DUE = 2_000

/** What has been committed: the tasks, for lists, and the events of those that were cancelled. */
export interface MadeSlots {
  tasks: NewTask[]
  created: CreatedTask[]
  events: Event[]
  /** Whether there may be more. */
  hasMore: boolean
}

/** A slot that gets a task. */
interface SlotToFill {
  schedule: LockedSchedule
  slot: number
  previousSlot: string | null
  origin: SlotOrigin
}

/**
 * Makes the slots that are due. Safe in several relays at once: each handles other schedules. A schedule whose slots
 * cannot be made is paused, so that it holds up no other.
 */
export async function makeDueSlots(db: Database): Promise<MadeSlots> {
  try {
    return await makeSlots(db, (transaction) => takeDueSchedules(transaction, MAX_TAKEN))
  } catch (error) {
    if (isUnavailable(error) || isConflict(error)) throw error
    return makeOneByOne(db)
  }
}

async function makeOneByOne(db: Database): Promise<MadeSlots> {
  const made: MadeSlots = { tasks: [], created: [], events: [], hasMore: false }
  for (const { tenant, name } of await listDueSchedules(db, MAX_TAKEN)) {
    try {
      const one = await makeSlots(db, async (transaction) => {
        const schedule = await takeSchedule(serviceOf(tenant, authorOf(name)), transaction, name)
        return schedule === undefined || schedule.nextSlot === null || schedule.nextSlot > schedule.now
          ? []
          : [schedule]
      })
      for (const list of ['tasks', 'created', 'events'] as const) made[list].push(...(one[list] as never[]))
    } catch (error) {
      if (isUnavailable(error) || isConflict(error)) throw error
      const { message } = describeError(error)
      await stopSchedule(serviceOf(tenant, 'taskwire'), db, name, `its slots cannot be made: ${message}`.slice(0, 500))
    }
  }
  return made
}

async function makeSlots(
  db: Database,
  take: (transaction: Transaction) => Promise<LockedSchedule[]>,
): Promise<MadeSlots> {
  const { toCancel, ...made } = await retryConflicts(() =>
    db.transaction(async (transaction) => makeSlotsIn(transaction, await take(transaction))),
  )
  if (made.tasks.length > 0) crashPoint('schedule:after-commit')
  const events: Event[] = []
  // Outside the transaction: whoever ends a task locks the task first, and a schedule is locked before its tasks.
  for (const { tenant, name, ids } of toCancel) {
    const reason = `replaced by the next slot of the schedule ${name}`
    const principal = serviceOf(tenant, authorOf(name))
    events.push(...(await cancelTasksIfUnfinished(principal, db, ids, { reason, withChildren: true })))
  }
  return { ...made, events, hasMore: made.hasMore || toCancel.length > 0 }
}

interface TasksToCancel {
  tenant: string
  name: string
  ids: TaskId[]
}

async function makeSlotsIn(
  transaction: Transaction,
  taken: readonly LockedSchedule[],
): Promise<Omit<MadeSlots, 'events'> & { toCancel: TasksToCancel[] }> {
  if (taken.length === 0) return { tasks: [], created: [], toCancel: [], hasMore: false }
  const dues = findAllDue(taken)
  const histories = await readHistories(
    transaction,
    dues.map(({ schedule, due }) => ({
      schedule,
      fromMs: due[0] ?? schedule.now.getTime(),
      toMs: due.at(-1) ?? schedule.now.getTime(),
    })),
  )
  const toCancel: TasksToCancel[] = []
  const fills: SlotToFill[] = []
  const empty: NewSlot[] = []
  const moves: ScheduleMove[] = []
  for (const [index, { schedule, due }] of dues.entries()) {
    const history = histories[index]
    if (history === undefined) continue
    const plan = decide(schedule, due, history)
    // What it replaces is cancelled first. It stays due until then.
    if (plan.toCancel.length > 0) {
      toCancel.push({ tenant: schedule.tenant, name: schedule.name, ids: plan.toCancel })
      continue
    }
    fills.push(...plan.fills)
    empty.push(...plan.empty)
    moves.push(plan.move)
  }
  const made = await fillSlots(transaction, fills)
  await writeSlots(transaction, empty)
  await moveSchedules(transaction, moves)
  crashPoint('schedule:before-commit')
  return { ...made, toCancel, hasMore: taken.length === MAX_TAKEN || dues.length < taken.length }
}

/** The due slots of the first of these schedules. After an outage, one transaction would have too many of all. */
function findAllDue(taken: readonly LockedSchedule[]): { schedule: LockedSchedule; due: number[] }[] {
  const dues: { schedule: LockedSchedule; due: number[] }[] = []
  let count = 0
  for (const schedule of taken) {
    if (count >= MAX_DUE) break
    const { spec, nextSlot, now } = schedule
    const [wrong] = specs.check(spec)
    if (wrong) throw new Error(`${wrong.pointer} of its row ${wrong.detail}`)
    const due = nextSlot === null ? [] : findDueSlots(spec, nextSlot.getTime(), now.getTime())
    count += due.length
    dues.push({ schedule, due })
  }
  return dues
}

interface Plan {
  toCancel: TaskId[]
  fills: SlotToFill[]
  empty: NewSlot[]
  move: ScheduleMove
}

function decide(schedule: LockedSchedule, due: readonly number[], history: ScheduleHistory): Plan {
  const { tenant, name, spec, pausedBy } = schedule
  const { open, running, failures, known, previousSlot } = history
  const nowMs = schedule.now.getTime()
  const failing = pausedBy === null && spec.pauseAfterFailures !== null && failures >= spec.pauseAfterFailures
  const planned = planSlots(due, nowMs, {
    ...{ spec, isPaused: pausedBy !== null || failing, hasOpen: open.length > 0 },
    known: new Set(known.map(({ slot }) => Date.parse(slot))),
  })
  const isFilled = ({ outcome }: PlannedSlot) => outcome === 'created'
  const filled = planned.filter(isFilled)
  const next = nextSlot(spec, nowMs)
  return {
    toCancel: spec.overlap === 'replace' && filled.length > 0 ? running : [],
    fills: filled.map(({ slot }, index) => ({
      ...{ schedule, slot, origin: 'schedule' },
      previousSlot: index === 0 ? previousSlot : toIso(filled[index - 1]?.slot ?? slot),
    })),
    empty: planned
      .filter((one) => !isFilled(one))
      .map(({ slot, outcome }) => ({
        ...{ tenant, schedule: name, slot: toIso(slot), origin: 'schedule', outcome, taskId: null },
      })),
    move: {
      ...{ tenant, name, nextSlot: next === undefined ? null : toIso(next) },
      pauseReason: failing ? `the tasks of the last ${failures} slots have failed` : null,
    },
  }
}

/** Creates the tasks of slots, and their rows. The schedules are locked. */
export async function fillSlots(
  transaction: Transaction,
  fills: readonly SlotToFill[],
): Promise<{ tasks: NewTask[]; created: CreatedTask[] }> {
  const all = fills.map((fill) => ({ fill, task: makeTask(fill) }))
  const plain = all.filter(({ task }) => task.more?.uniqueKey === undefined).map(({ task }) => task)
  const made = { tasks: [...plain], created: [] as CreatedTask[] }
  if (plain.length > 0) {
    const [answer] = await transaction.run<CreateAnswer>(createTasksStatement(plain), [0, JSON.stringify(plain)])
    if (answer === undefined) throw new Error('the database did not answer')
    made.created.push(...plain.map((task) => toCreatedTask(task, answer)))
  }
  const taken = new Set<TaskId>()
  for (const { fill, task } of all) {
    if (task.more?.uniqueKey === undefined) continue
    const { tenant, name } = fill.schedule
    const { answers } = await createUniqueTasksIn(serviceOf(tenant, authorOf(name)), transaction, [task], 0)
    const [answer] = answers
    if (answer?.kind === 'created') {
      made.tasks.push(task)
      made.created.push(answer.created)
    } else taken.add(task.id)
  }
  const slots = all.map(({ fill: { schedule, slot, origin }, task }) =>
    toNewSlot(schedule, slot, origin, task.id, taken),
  )
  await writeSlots(transaction, slots)
  return made
}

/** @param taken the tasks whose unique keys other tasks have */
function toNewSlot(
  { tenant, name }: ScheduleRow,
  slot: number,
  origin: SlotOrigin,
  taskId: TaskId,
  taken: ReadonlySet<TaskId>,
): NewSlot {
  const row = { tenant, schedule: name, slot: toIso(slot), origin }
  return taken.has(taskId) ? { ...row, outcome: 'unique', taskId: null } : { ...row, outcome: 'created', taskId }
}

function makeTask({ schedule, slot, previousSlot, origin }: SlotToFill): NewTask {
  const { tenant, name, spec, now } = schedule
  const { expiresAfterMs, more, ...task } = schedule.template
  const offsetMs = origin === 'schedule' ? spreadOf(tenant, name, spec.spreadMs) : 0
  const startMs = Math.max(slot + offsetMs, now.getTime())
  return {
    ...task,
    ...{ id: createTaskId(), tenant, delayMs: null, isHandedOver: false },
    runAt: offsetMs > 0 ? toIso(startMs) : null,
    more: {
      ...more,
      schedule: { name, slot: toIso(slot), previousSlot },
      ...(expiresAfterMs !== undefined && { expiresAt: toIso(startMs + expiresAfterMs) }),
    },
  }
}

/** Where in its spread a schedule is: always at the same place. */
function spreadOf(tenant: string, name: string, spreadMs: number): number {
  if (spreadMs === 0) return 0
  const digest = createHash('sha256')
    .update(JSON.stringify([tenant, name]))
    .digest()
  return digest.readUIntBE(0, 6) % spreadMs
}

export function toIso(ms: number): string {
  return new Date(ms).toISOString()
}
