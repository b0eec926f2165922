/** The slots of a schedule: its history, and those that people ask for. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Publisher } from '../../../broker/publisher.js'
import type { Database } from '../../../db/database.js'
import { Problem } from '../../../protocol/errors.js'
import {
  Backfill,
  BackfillAnswer,
  MAX_SLOTS,
  RunNowAnswer,
  ScheduleParams,
  SlotPage,
  SlotsQuery,
} from '../../../protocol/schedule.js'
import { LAST_INSTANT } from '../../../protocol/task.js'
import { backfill, runNow } from '../../../schedules/asked-slots.js'
import { listSlots, readSchedule } from '../../../store/schedules/read.js'
import { SLOT_DAYS } from '../../../store/schedules/prune.js'
import type { CreatedTask, NewTask } from '../../../store/tasks/create.js'
import { announceTasks } from '../../../tasks/create/announcer.js'
import { checkTime } from '../../../tasks/create/new-task.js'
import type { Releaser } from '../../../tasks/release/releaser.js'
import { Limit } from '../../../timing/limit.js'
import { ProblemError } from '../../problem.js'
import type { Reading } from '../../reading.js'
import { assertSetting } from '../release/setting.js'

/** Requests for slots of one schedule wait for each other. So many of them may hold a connection meanwhile. */
const MAX_ASKED = 2

export interface SlotDeps {
  db: Database
  reading: Reading
  releaser: Pick<Releaser, 'wake'>
  publisher: Publisher
}

export const slotRoutes: FastifyPluginAsyncTypebox<SlotDeps> = async (app, deps) => {
  const { db, reading } = deps
  const asked = new Limit(MAX_ASKED)

  app.get(
    '/api/schedules/:name/slots',
    {
      schema: {
        tags: ['schedules'],
        operationId: 'listSlots',
        summary: 'List the slots that have been',
        description:
          `Newest first: each with the task that it made, or why it made none. Kept for ${SLOT_DAYS} days, those without a task for 30. ` +
          `Of an outage, the newest ${MAX_SLOTS} are listed.`,
        params: ScheduleParams,
        querystring: SlotsQuery,
        response: { 200: SlotPage, 400: Problem, 404: Problem },
      },
    },
    async ({ principal, params: { name }, query: { cursor = LAST_INSTANT, limit = 50 } }) => {
      assertSetting(checkTime('/cursor', cursor))
      const items = await listSlots(principal, reading.byKey, name, { before: cursor, limit: limit + 1 })
      if (items.length === 0 && (await readSchedule(principal, reading.byKey, name)) === undefined) throw unknown()
      const page = items.slice(0, limit)
      return { items: page, nextCursor: items.length > limit ? (page.at(-1)?.slot ?? null) : null }
    },
  )

  app.post(
    '/api/schedules/:name/run',
    {
      schema: {
        tags: ['schedules'],
        operationId: 'runSchedule',
        summary: 'Run a schedule now',
        description:
          'Creates a task now, beside the slots of the rule, also while the schedule is paused or an earlier task has not ended. With `overlap: ' +
          'queue` it waits for the earlier ones.',
        params: ScheduleParams,
        response: { 200: RunNowAnswer, 400: Problem, 404: Problem },
      },
    },
    async ({ principal, params: { name } }) => {
      const made = await asked.run(() => runNow(principal, db, name))
      if (made === undefined) throw unknown()
      announce(made, deps)
      return { slot: made.slot, taskId: made.taskId }
    },
  )

  app.post(
    '/api/schedules/:name/backfill',
    {
      schema: {
        tags: ['schedules'],
        operationId: 'backfillSchedule',
        summary: 'Fill in the slots of a period',
        description:
          'Creates the tasks of those slots of a period that have none: all, or none. A slot that has a task keeps it, so a backfill can be ' +
          'repeated. Policies for overlap and late slots do not apply, but with `overlap: queue` the tasks run one after the other.',
        params: ScheduleParams,
        body: Backfill,
        response: { 200: BackfillAnswer, 400: Problem, 404: Problem, 422: Problem },
      },
    },
    async ({ principal, params: { name }, body: { from, to, dryRun = false } }) => {
      assertSetting([...checkTime('/from', from), ...checkTime('/to', to)])
      const [fromMs, toMs] = [Date.parse(from), Date.parse(to)]
      assertSetting(checkPeriod(fromMs, toMs))
      const answer = await asked.run(() => backfill(principal, db, name, { fromMs, toMs, isDryRun: dryRun }))
      if (answer === 'unknown') throw unknown()
      if (answer === 'not yet') assertSetting([NOT_YET])
      if (answer === 'too many') assertSetting([TOO_MANY])
      if (typeof answer === 'string') throw new Error(`unknown outcome ${answer}`)
      announce(answer, deps)
      return { made: answer.made, items: answer.items }
    },
  )
}

function announce(
  { tasks, created }: { tasks: readonly NewTask[]; created: readonly CreatedTask[] },
  { publisher, releaser }: SlotDeps,
): void {
  announceTasks(publisher, tasks, created)
  if (tasks.length > 0) releaser.wake()
}

function checkPeriod(fromMs: number, toMs: number) {
  if (fromMs >= toMs)
    return [{ pointer: '/to', detail: 'is not after from', fix: 'Choose a later end or an earlier start.' }]
  if (fromMs >= Date.now() - SLOT_DAYS * 86_400_000) return []
  const detail = `is more than ${SLOT_DAYS} days ago, for which the history is not kept`
  return [{ pointer: '/from', detail, fix: 'Choose a later start.' }]
}

const NOT_YET = {
  pointer: '/to',
  detail: 'is in the future, by the clock of PostgreSQL',
  fix: 'Choose an earlier end.',
}
const TOO_MANY = {
  pointer: '/to',
  detail: `is too far from from: the period has more than ${MAX_SLOTS} slots`,
  fix: 'Fill in a shorter period, and then the next one.',
}

function unknown(): ProblemError {
  return new ProblemError('not_found', 'There is no schedule of this name. GET /api/schedules lists them.')
}
