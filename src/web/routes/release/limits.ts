/** Limits: how many tasks run at a time, or start per period, over all workers. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Problem, type FieldError } from '../../../protocol/errors.js'
import { NoBody } from '../../../protocol/http.js'
import { Limit, LimitList, LimitParams, PutLimit, RAMP_PREFIX } from '../../../protocol/release.js'
import { deleteLimit, listLimits, MAX_LIMITS, putLimit } from '../../../store/release/limits.js'
import { ProblemError } from '../../problem.js'
import { applySetting, assertSetting, checkNames, type SettingDeps } from './setting.js'

export const limitRoutes: FastifyPluginAsyncTypebox<SettingDeps> = async (app, deps) => {
  const { db, reading } = deps

  app.get(
    '/api/limits',
    {
      schema: {
        tags: ['operations'],
        operationId: 'listLimits',
        summary: 'List the limits',
        description:
          'Each with who set it and when, and with its counts (`use`): of at most 100 tenants or keys, those with the least room. ' +
          'Of keys, only those of your tenant.',
        response: { 200: LimitList },
      },
    },
    async ({ principal }) => ({ items: await listLimits(principal, reading.byKey) }),
  )

  app.put(
    '/api/limits/:name',
    {
      schema: {
        tags: ['operations'],
        operationId: 'putLimit',
        summary: 'Set a limit',
        description:
          'Sets a limit, or replaces the one of this name. It holds when the answer arrives. Attempts that run already are counted, and not ' +
          'stopped; a rate keeps the starts that it has counted. A limit that the code of a type sets can be replaced under its name. The ' +
          'replacement survives restarts until it is deleted; then the code sets its own again at the next start of a process.',
        params: LimitParams,
        body: PutLimit,
        response: { 200: Limit, 400: Problem, 422: Problem },
      },
    },
    async ({ principal, params, body }) => {
      assertSetting([...checkLimit(params.name, body), ...(await checkNames(deps, namesIn(body)))])
      const limit = await putLimit(principal, db, params.name, body)
      if (limit === undefined) throw new ProblemError('invalid_setting', '/name is one too many', [TOO_MANY])
      await applySetting(deps)
      return limit
    },
  )

  app.delete(
    '/api/limits/:name',
    {
      schema: {
        tags: ['operations'],
        operationId: 'deleteLimit',
        summary: 'Delete a limit',
        description:
          'The tasks that it held may start at once. A limit set by the code of a type can be replaced, but not deleted.',
        params: LimitParams,
        response: { 204: NoBody, 400: Problem, 404: Problem, 409: Problem },
      },
    },
    async ({ params }, reply) => {
      const outcome = await deleteLimit(db, params.name)
      if (outcome === 'unknown')
        throw new ProblemError('not_found', 'There is no limit of this name. GET /api/limits lists them.')
      if (outcome === 'of code')
        throw new ProblemError('limit_of_code', `The limit ${params.name} is set by the code of a type.`)
      await applySetting(deps)
      return reply.code(204).send(undefined)
    },
  )
}

const TOO_MANY: FieldError = {
  pointer: '/name',
  detail: `is one too many: there are ${MAX_LIMITS} limits`,
  fix: 'Delete one, or set one limit for many: with several types, or per tenant or key.',
}

function namesIn({ types = [], queue }: PutLimit) {
  return {
    types: types.map((type, index) => [`/types/${index}`, type] as const),
    queues: queue === undefined ? [] : [['/queue', queue] as const],
  }
}

/** The rules that the schema does not express. */
function checkLimit(name: string, { concurrency, rate, whenOver }: PutLimit): FieldError[] {
  const errors: FieldError[] = []
  if (name.startsWith(RAMP_PREFIX))
    errors.push({
      pointer: '/name',
      detail: `begins with ${RAMP_PREFIX}, which only the limits after a pause do`,
      fix: 'Choose another name.',
    })
  if (concurrency === undefined && rate === undefined)
    errors.push({
      pointer: '/concurrency',
      detail: 'is missing, and so is rate',
      fix: 'Send one of the two: `concurrency` for attempts at a time, `rate` for starts per period.',
    })
  if (concurrency !== undefined && rate !== undefined)
    errors.push({
      pointer: '/rate',
      detail: 'cannot be combined with concurrency',
      fix: 'Set two limits, under two names.',
    })
  if (whenOver !== undefined && rate === undefined)
    errors.push({
      pointer: '/whenOver',
      detail: 'is only for a rate: tasks over a concurrency always wait',
      fix: 'Leave it out, or send a rate instead of concurrency.',
    })
  return errors
}
