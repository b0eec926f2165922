/** The tables of schedules: see `store/schedules/`. */
import { sql } from 'drizzle-orm'
import { index, jsonb, primaryKey, text, uuid } from 'drizzle-orm/pg-core'
import type { ScheduleSpec, SlotOrigin, SlotOutcome } from '../protocol/schedule.js'
import { instant, taskStatus, taskwire, tenant } from './schema.js'

/** One row per schedule. */
export const schedules = taskwire.table(
  'schedules',
  {
    tenant: tenant(),
    name: text('name').notNull(),
    /** What holds now: the rule, the task and the policies. */
    spec: jsonb('spec').$type<ScheduleSpec>().notNull(),
    /** What the code says; null if the code does not define it. */
    code: jsonb('code').$type<ScheduleSpec>(),
    /** The task with everything that its type decides. A relay, which knows no types, creates it. */
    template: jsonb('template').notNull(),
    /** The first slot that nobody has handled. Null when there is no more. */
    nextSlot: instant('next_slot'),
    pausedBy: text('paused_by'),
    pausedAt: instant('paused_at'),
    pauseReason: text('pause_reason'),
    /** Failures before it do not count. */
    resumedAt: instant('resumed_at').notNull().defaultNow(),
    setBy: text('set_by').notNull(),
    setAt: instant('set_at').notNull().defaultNow(),
    reason: text('reason'),
  },
  (table) => [
    primaryKey({ columns: [table.tenant, table.name] }),
    index('schedules_due_idx')
      .on(table.nextSlot)
      .where(sql`${table.nextSlot} is not null`),
  ],
)

/** One row per slot that has been: its key is what makes a slot create one task. */
export const scheduleSlots = taskwire.table(
  'schedule_slots',
  {
    tenant: tenant(),
    schedule: text('schedule').notNull(),
    slot: instant('slot').notNull(),
    origin: text('origin').$type<SlotOrigin>().notNull(),
    outcome: text('outcome').$type<SlotOutcome>().notNull(),
    madeAt: instant('made_at').notNull().defaultNow(),
    taskId: uuid('task_id'),
    /** How its task has ended, by a trigger; null before. */
    ended: taskStatus('ended'),
  },
  (table) => [
    primaryKey({ columns: [table.tenant, table.schedule, table.slot] }),
    // The tasks that have not ended: what `overlap` asks for.
    index('schedule_slots_open_idx')
      .on(table.tenant, table.schedule)
      .where(sql`${table.taskId} is not null and ${table.ended} is null`),
    index('schedule_slots_task_idx')
      .on(table.taskId)
      .where(sql`${table.taskId} is not null and ${table.ended} is null`),
    // The slots with a task, however many without one lie between them.
    index('schedule_slots_filled_idx')
      .on(table.tenant, table.schedule, table.slot)
      .where(sql`${table.taskId} is not null`),
    // What is to be deleted: slots with a task are kept longer.
    index('schedule_slots_old_filled_idx')
      .on(table.madeAt)
      .where(sql`${table.taskId} is not null`),
    index('schedule_slots_old_empty_idx')
      .on(table.madeAt)
      .where(sql`${table.taskId} is null`),
  ],
)
