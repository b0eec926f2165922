/** Weights: the shares of tenants, and of keys within their tenant. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Problem } from '../../../protocol/errors.js'
import { NoBody } from '../../../protocol/http.js'
import { PutWeight, Weight, WeightKeyParams, WeightList, WeightTenantParams } from '../../../protocol/release.js'
import { deleteWeight, listWeights, putWeight } from '../../../store/release/weights.js'
import { ProblemError } from '../../problem.js'
import type { SettingDeps } from './setting.js'

/** The two kinds, which differ in their parameter only. */
const KINDS = [
  { kind: 'tenant', params: WeightTenantParams, suffix: 'Tenant', what: 'a tenant' },
  { kind: 'key', params: WeightKeyParams, suffix: 'Key', what: 'a concurrency key of your tenant' },
] as const

export const weightRoutes: FastifyPluginAsyncTypebox<SettingDeps> = async (app, { db, reading }) => {
  app.get(
    '/api/weights',
    {
      schema: {
        tags: ['operations'],
        operationId: 'listWeights',
        summary: 'List the weights',
        description: 'Of tenants, and of the keys of your tenant; at most 1,000. All others have the weight 1.',
        response: { 200: WeightList },
      },
    },
    async ({ principal }) => ({ items: await listWeights(principal, reading.byKey) }),
  )

  for (const { kind, params, suffix, what } of KINDS) {
    app.put(
      `/api/weights/${kind}/:${kind}`,
      {
        schema: {
          tags: ['operations'],
          operationId: `put${suffix}Weight`,
          summary: `Set the weight of ${what}`,
          description:
            'One of weight 2 gets twice as many starts as one of weight 1 while both have tasks that wait. It holds from the next start on, also ' +
            'for tasks that wait already.',
          params,
          body: PutWeight,
          response: { 200: Weight, 400: Problem },
        },
      },
      async ({ principal, params, body }) => putWeight(principal, db, params, body),
    )

    app.delete(
      `/api/weights/${kind}/:${kind}`,
      {
        schema: {
          tags: ['operations'],
          operationId: `delete${suffix}Weight`,
          summary: `Reset the weight of ${what} to 1`,
          params,
          response: { 204: NoBody, 400: Problem, 404: Problem },
        },
      },
      async ({ principal, params }, reply) => {
        if (!(await deleteWeight(principal, db, params)))
          throw new ProblemError('not_found', 'Its weight is 1 already. GET /api/weights lists the others.')
        return reply.code(204).send(undefined)
      },
    )
  }
}
