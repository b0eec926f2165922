/** Pauses of queues, types, tenants and keys. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { Problem, type FieldError } from '../../../protocol/errors.js'
import { NoBody } from '../../../protocol/http.js'
import { MAX_DELAY_MS } from '../../../protocol/limits.js'
import { Nullable } from '../../../protocol/nullable.js'
import { Pause, PauseList, PauseParams, PutPause } from '../../../protocol/release.js'
import { deletePause, listPauses, putPause } from '../../../store/release/pauses.js'
import { checkTime } from '../../../tasks/create/new-task.js'
import { ProblemError } from '../../problem.js'
import { applySetting, assertSetting, checkNames, type SettingDeps } from './setting.js'

export const pauseRoutes: FastifyPluginAsyncTypebox<SettingDeps> = async (app, deps) => {
  const { db, reading } = deps

  app.get(
    '/api/pauses',
    {
      schema: {
        tags: ['operations'],
        operationId: 'listPauses',
        summary: 'List the pauses',
        description:
          'At most 1,000: those of queues, types and tenants, then those of the keys of your tenant; newest first.',
        response: { 200: PauseList },
      },
    },
    async ({ principal }) => ({ items: await listPauses(principal, reading.byKey) }),
  )

  app.put(
    '/api/pauses/:kind/:name',
    {
      schema: {
        tags: ['operations'],
        operationId: 'putPause',
        summary: 'Pause a queue, a type, a tenant or a key',
        description:
          'When the answer arrives, none of its tasks starts any more: no retry, no scheduled task, and none that was dispatched before. Running ' +
          'attempts go on. Tasks can still be created and cancelled, and expire at their `expiresAt`. Pausing again replaces the reason and the end.',
        params: PauseParams,
        body: Type.Optional(Nullable(PutPause)),
        response: { 200: Pause, 400: Problem, 422: Problem },
      },
    },
    async ({ principal, params: { kind, name }, body }) => {
      const { reason = null, until } = body ?? {}
      assertSetting([
        ...checkEnd(until),
        ...(await checkNames(deps, {
          types: kind === 'type' ? [['/name', name]] : [],
          queues: kind === 'queue' ? [['/name', name]] : [],
        })),
      ])
      const pause = await putPause(principal, db, kind, name, { reason, ...(until !== undefined && { until }) })
      if (pause === undefined) throw new ProblemError('invalid_setting', '/until has passed', [HAS_PASSED])
      await applySetting(deps)
      return pause
    },
  )

  app.delete(
    '/api/pauses/:kind/:name',
    {
      schema: {
        tags: ['operations'],
        operationId: 'deletePause',
        summary: 'End a pause',
        description:
          'If tasks wait, they start slowly: one at a time at first, and twice as many each second, for ten seconds. Those of a key start at once.',
        params: PauseParams,
        response: { 204: NoBody, 400: Problem, 404: Problem },
      },
    },
    async ({ principal, params: { kind, name } }, reply) => {
      if (!(await deletePause(principal, db, kind, name)))
        throw new ProblemError('not_found', 'There is no such pause. GET /api/pauses lists them.')
      await applySetting(deps)
      return reply.code(204).send(undefined)
    },
  )
}

/** An end that is much further ahead is a mistake, and PostgreSQL cannot add the ramp to the last second that it knows. */
function checkEnd(until: string | undefined): FieldError[] {
  const malformed = checkTime('/until', until)
  if (until === undefined || malformed.length > 0 || Date.parse(until) <= Date.now() + MAX_DELAY_MS) return malformed
  return [
    {
      pointer: '/until',
      detail: `is more than ${MAX_DELAY_MS / 86_400_000} days ahead`,
      fix: 'Send an earlier time, or leave it out for a pause without an end.',
    },
  ]
}

const HAS_PASSED: FieldError = {
  pointer: '/until',
  detail: 'has passed, by the clock of PostgreSQL',
  fix: 'Send a later time, or leave it out for a pause without an end.',
}
