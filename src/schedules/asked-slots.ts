/** Slots that people ask for: one now, or those of a period. */
import type { Principal } from '../access/principal.js'
import { retryConflicts } from '../db/conflict.js'
import type { Database } from '../db/database.js'
import { MAX_SLOTS, type BackfillAnswer } from '../protocol/schedule.js'
import type { TaskId } from '../protocol/task.js'
import { readHistories, takeSchedule } from '../store/schedules/make-slots.js'
import type { CreatedTask, NewTask } from '../store/tasks/create.js'
import { fillSlots, toIso } from './slot-maker.js'
import { listSlots, nextSlot } from './slots.js'

/** The tasks of the slots, after the commit. */
interface Made {
  tasks: NewTask[]
  created: CreatedTask[]
}

/**
 * Makes a slot now, whatever the policies of the schedule say, also while it is paused.
 * @returns undefined if there is no schedule of this name; `taskId` is null if another task has the unique key
 */
export function runNow(
  principal: Principal,
  db: Database,
  name: string,
): Promise<(Made & { slot: string; taskId: TaskId | null }) | undefined> {
  return retryConflicts(() =>
    db.transaction(async (transaction) => {
      const schedule = await takeSchedule(principal, transaction, name)
      if (schedule === undefined) return undefined
      const nowMs = schedule.now.getTime()
      const [history] = await readHistories(transaction, [{ schedule, fromMs: nowMs, toMs: nowMs + MAX_SLOTS }])
      const known = new Set(history?.known.map(({ slot }) => slot))
      let slot = nowMs
      // A slot of the rule is for the rule.
      while (known.has(toIso(slot)) || nextSlot(schedule.spec, slot - 1) === slot) slot += 1
      const previousSlot = history?.previousSlot ?? null
      const made = await fillSlots(transaction, [{ schedule, slot, previousSlot, origin: 'run' }])
      return { ...made, slot: toIso(slot), taskId: made.created[0]?.id ?? null }
    }),
  )
}

export type Backfilled = (Made & BackfillAnswer) | 'unknown' | 'too many' | 'not yet'

/**
 * Makes the slots of a period that have no task, whatever `overlap` says. All, or none.
 * @returns `too many` if the period has more than MAX_SLOTS, `not yet` if it ends in the future
 */
export function backfill(
  principal: Principal,
  db: Database,
  name: string,
  { fromMs, toMs, isDryRun }: { fromMs: number; toMs: number; isDryRun: boolean },
): Promise<Backfilled> {
  return retryConflicts(() =>
    db.transaction(async (transaction): Promise<Backfilled> => {
      const schedule = await takeSchedule(principal, transaction, name)
      if (schedule === undefined) return 'unknown'
      if (toMs > schedule.now.getTime()) return 'not yet'
      const slots = listSlots(schedule.spec, fromMs - 1, toMs - 1, MAX_SLOTS + 1)
      if (slots.length > MAX_SLOTS) return 'too many'
      const [history] = await readHistories(transaction, [{ schedule, fromMs, toMs }])
      const taskOf = new Map(history?.known.map(({ slot, taskId }) => [slot, taskId]))
      const missing = slots.filter((slot) => !taskOf.get(toIso(slot)))
      const previousOf = findPrevious(slots, history?.previousSlot ?? null)
      const fills = missing.map((slot) => ({
        ...{ schedule, slot, origin: 'backfill' as const },
        previousSlot: previousOf.get(slot) ?? null,
      }))
      const made = isDryRun ? { tasks: [], created: [] } : await fillSlots(transaction, fills)
      const newOf = new Map(made.tasks.map(({ id, more }) => [more?.schedule?.slot, id]))
      const items = slots.map(toIso).map((slot) => {
        const known = taskOf.get(slot) ?? null
        return {
          slot,
          taskId: known ?? newOf.get(slot) ?? null,
          isNew: known === null && (isDryRun || newOf.has(slot)),
        }
      })
      return { ...made, made: items.filter(({ isNew }) => isNew).length, items }
    }),
  )
}

/** Each slot of the period has a task in the end, so the previous one of each is the one before it. */
function findPrevious(slots: readonly number[], before: string | null): Map<number, string | null> {
  return new Map(slots.map((slot, index) => [slot, index === 0 ? before : toIso(slots[index - 1] ?? slot)]))
}
