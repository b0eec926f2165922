/** Schedules: reading, setting and pausing them. What makes their slots is in `slots.ts`. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { Principal } from '../../../access/principal.js'
import type { Registry } from '../../../definitions/registry.js'
import { Problem, type FieldError } from '../../../protocol/errors.js'
import { NoBody } from '../../../protocol/http.js'
import { Nullable } from '../../../protocol/nullable.js'
import {
  PauseSchedule,
  PutSchedule,
  ScheduleDetail,
  SchedulePage,
  SchedulePreview,
  ScheduleParams,
  SchedulesQuery,
  type Schedule,
  type ScheduleSpec,
} from '../../../protocol/schedule.js'
import { describeRule, listNextRuns } from '../../../schedules/preview.js'
import { checkFuture, readSchedule, ScheduleError } from '../../../schedules/read-schedule.js'
import { nextSlot } from '../../../schedules/slots.js'
import { listSchedules, readSchedule as readStored } from '../../../store/schedules/read.js'
import { resetSchedule } from '../../../store/schedules/code.js'
import type { StoredSchedule } from '../../../store/schedules/rows.js'
import {
  deleteSchedule,
  MAX_SCHEDULES,
  pauseSchedule,
  putSchedule,
  resumeSchedule,
  type NewSchedule,
} from '../../../store/schedules/write.js'
import { ProblemError } from '../../problem.js'
import { assertSetting } from '../release/setting.js'
import { slotRoutes, type SlotDeps } from './slots.js'

export interface ScheduleDeps extends SlotDeps {
  registry: Registry
}

export const scheduleRoutes: FastifyPluginAsyncTypebox<ScheduleDeps> = async (app, deps) => {
  await app.register(readRoutes, deps)
  await app.register(writeRoutes, deps)
  await app.register(pauseRoutes, deps)
  await app.register(slotRoutes, deps)
}

const readRoutes: FastifyPluginAsyncTypebox<ScheduleDeps> = async (app, { reading, registry }) => {
  app.get(
    '/api/schedules',
    {
      schema: {
        tags: ['schedules'],
        operationId: 'listSchedules',
        summary: 'List the schedules',
        description: 'In the order of their names, each with its rule in words, its next slot and its last one.',
        querystring: SchedulesQuery,
        response: { 200: SchedulePage, 400: Problem },
      },
    },
    async ({ principal, query: { cursor = '', limit = 50 } }) => {
      const items = await listSchedules(principal, reading.byKey, { after: cursor, limit: limit + 1 })
      const page = items.slice(0, limit).map(toSchedule)
      return { items: page, nextCursor: items.length > limit ? (page.at(-1)?.name ?? null) : null }
    },
  )

  app.get(
    '/api/schedules/:name',
    {
      schema: {
        tags: ['schedules'],
        operationId: 'readSchedule',
        summary: 'Read a schedule',
        description: 'With its next ten runs. `note` marks those for which the clocks are set forward or back.',
        params: ScheduleParams,
        response: { 200: ScheduleDetail, 400: Problem, 404: Problem },
      },
    },
    async ({ principal, params: { name } }) => {
      const stored = await readStored(principal, reading.byKey, name)
      if (stored === undefined) throw unknown()
      return toDetail(stored)
    },
  )

  app.post(
    '/api/schedules/preview',
    {
      schema: {
        tags: ['schedules'],
        operationId: 'previewSchedule',
        summary: 'Preview a schedule',
        description:
          'Checks a schedule as PUT would, and answers with its rule in words and its next ten runs. Sets nothing.',
        body: PutSchedule,
        response: { 200: SchedulePreview, 400: Problem, 422: Problem },
      },
    },
    async ({ principal, body }) => {
      const { spec } = read(principal, 'preview', body, registry)
      assertSetting(checkFuture(spec, Date.now()))
      return { words: describeRule(spec), nextRuns: listNextRuns(spec, Date.now()) }
    },
  )
}

const writeRoutes: FastifyPluginAsyncTypebox<ScheduleDeps> = async (app, { db, registry }) => {
  app.put(
    '/api/schedules/:name',
    {
      schema: {
        tags: ['schedules'],
        operationId: 'putSchedule',
        summary: 'Set a schedule',
        description:
          'Sets a schedule, or replaces the one of this name. A changed rule counts from now; with the same rule, slots that are due stay due. ' +
          'A schedule that the code defines can be changed: it shows what the code says in `code`, and the change survives restarts.',
        params: ScheduleParams,
        body: PutSchedule,
        response: { 200: ScheduleDetail, 400: Problem, 404: Problem, 422: Problem },
      },
    },
    async ({ principal, params: { name }, body }) => {
      const schedule = read(principal, name, body, registry)
      const before = await readStored(principal, db, name)
      // One that is over can be set again as it is.
      if (before === undefined || before.nextSlot !== null) assertSetting(checkFuture(schedule.spec, Date.now()))
      if ((await putSchedule(principal, db, schedule, body.reason ?? null, nextSlot)) === 'too many')
        throw new ProblemError('invalid_setting', '/name is one too many', [TOO_MANY])
      return toDetail(await reread(principal, db, name))
    },
  )

  app.delete(
    '/api/schedules/:name',
    {
      schema: {
        tags: ['schedules'],
        operationId: 'deleteSchedule',
        summary: 'Delete a schedule',
        description:
          'Its tasks and its history stay, so that no slot makes a second task if it is set again. A schedule that the code defines can be ' +
          'paused, but not deleted.',
        params: ScheduleParams,
        response: { 204: NoBody, 400: Problem, 404: Problem, 409: Problem },
      },
    },
    async ({ principal, params: { name } }, reply) => {
      const outcome = await deleteSchedule(principal, db, name)
      if (outcome === 'unknown') throw unknown()
      if (outcome === 'of code')
        throw new ProblemError('schedule_of_code', `The schedule ${name} is defined in the code of the project.`)
      return reply.code(204).send(undefined)
    },
  )

  app.post(
    '/api/schedules/:name/reset',
    {
      schema: {
        tags: ['schedules'],
        operationId: 'resetSchedule',
        summary: 'Set a schedule back to the code',
        description: 'What the code says holds again.',
        params: ScheduleParams,
        response: { 200: ScheduleDetail, 400: Problem, 404: Problem, 409: Problem, 422: Problem },
      },
    },
    async ({ principal, params: { name } }) => {
      const stored = await readStored(principal, db, name)
      if (stored === undefined) throw unknown()
      if (stored.source !== 'code')
        throw new ProblemError(
          'schedule_not_of_code',
          `The schedule ${name} is not defined in the code of the project.`,
        )
      if (stored.code !== null) {
        const { template } = read(principal, name, toGiven(stored.code), registry)
        await resetSchedule(principal, db, { name, spec: stored.code, template }, nextSlot)
      }
      return toDetail(await reread(principal, db, name))
    },
  )
}

const pauseRoutes: FastifyPluginAsyncTypebox<ScheduleDeps> = async (app, { db }) => {
  app.post(
    '/api/schedules/:name/pause',
    {
      schema: {
        tags: ['schedules'],
        operationId: 'pauseSchedule',
        summary: 'Pause a schedule',
        description:
          'Its slots make no tasks, which its history says, until it is resumed. Tasks that it has created go on.',
        params: ScheduleParams,
        body: Type.Optional(Nullable(PauseSchedule)),
        response: { 200: ScheduleDetail, 400: Problem, 404: Problem },
      },
    },
    async ({ principal, params: { name }, body }) => {
      if (!(await pauseSchedule(principal, db, name, body?.reason ?? null))) throw unknown()
      return toDetail(await reread(principal, db, name))
    },
  )

  app.post(
    '/api/schedules/:name/resume',
    {
      schema: {
        tags: ['schedules'],
        operationId: 'resumeSchedule',
        summary: 'Resume a schedule',
        description: 'From its next slot on. Slots of the pause stay empty; a backfill can fill them.',
        params: ScheduleParams,
        response: { 200: ScheduleDetail, 400: Problem, 404: Problem },
      },
    },
    async ({ principal, params: { name } }) => {
      if (!(await resumeSchedule(principal, db, name))) throw unknown()
      return toDetail(await reread(principal, db, name))
    },
  )
}

const TOO_MANY: FieldError = {
  pointer: '/name',
  detail: `is one too many: there are ${MAX_SCHEDULES} schedules`,
  fix: 'Delete one that is no longer needed.',
}

function unknown(): ProblemError {
  return new ProblemError('not_found', 'There is no schedule of this name. GET /api/schedules lists them.')
}

/** @throws ProblemError */
function read(principal: Principal, name: string, body: PutSchedule, registry: Registry): NewSchedule {
  const { reason, ...given } = body
  void reason
  try {
    return readSchedule(name, given, principal.tenant, registry)
  } catch (error) {
    if (error instanceof ScheduleError) assertSetting(error.errors)
    throw error
  }
}

/** What a client would have to send for it. */
function toGiven(spec: ScheduleSpec): PutSchedule {
  const { catchUp, maxCatchUp, cron, gap, ...others } = spec
  const given = { ...others, catchUp, cron, ...(cron !== null && { gap }), ...(catchUp === 'all' && { maxCatchUp }) }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null)) as unknown as PutSchedule
}

async function reread(principal: Principal, db: SlotDeps['db'], name: string): Promise<StoredSchedule> {
  const stored = await readStored(principal, db, name)
  // Deleted in the meantime.
  if (stored === undefined) throw unknown()
  return stored
}

function toSchedule(stored: StoredSchedule): Schedule {
  return { ...stored, words: describeRule(stored) }
}

/** The first of the next runs is the next slot, which may be due already. */
function toDetail(stored: StoredSchedule): ScheduleDetail {
  const { nextSlot } = stored
  return { ...toSchedule(stored), nextRuns: nextSlot === null ? [] : listNextRuns(stored, Date.parse(nextSlot) - 1) }
}
