/** Schedules as they are stored. */
import type { Schedule, ScheduleSpec, Slot, SlotOrigin, SlotOutcome } from '../../protocol/schedule.js'
import type { Status } from '../../protocol/status.js'
import type { TaskId } from '../../protocol/task.js'
import type { NewTask } from '../../store/tasks/create.js'

/** The task of each slot, but for what differs from slot to slot. */
export type TaskTemplate = Omit<NewTask, 'id' | 'tenant' | 'runAt' | 'delayMs'> & {
  expiresAfterMs?: number | undefined
}

/** What decides about slots. */
export interface ScheduleRow {
  tenant: string
  name: string
  spec: ScheduleSpec
  template: TaskTemplate
  nextSlot: Date | null
  pausedBy: string | null
  resumedAt: Date
}

export const SCHEDULE_COLUMNS = `s.tenant, s.name, s.spec, s.template, s.next_slot as "nextSlot", s.paused_by as "pausedBy", s.resumed_at as "resumedAt"`

export interface SlotRow {
  slot: Date
  origin: SlotOrigin
  outcome: SlotOutcome
  madeAt: Date
  taskId: TaskId | null
  status: Status | null
}

/** The columns of `schedule_slots h`, with the status of its task. */
export const SLOT_COLUMNS = `h.slot, h.origin, h.outcome, h.made_at as "madeAt", h.task_id as "taskId",
  coalesce(h.ended, (select t.status from taskwire.tasks t where t.id = any(array[h.task_id]))) as status`

export function toSlot({ slot, madeAt, ...row }: SlotRow): Slot {
  return { ...row, slot: slot.toISOString(), madeAt: madeAt.toISOString() }
}

/** A schedule without what is calculated from its rule. */
export type StoredSchedule = Omit<Schedule, 'words'>
