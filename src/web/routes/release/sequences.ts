/** Sequences that a failed or expired task has halted. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Problem } from '../../../protocol/errors.js'
import { NoBody } from '../../../protocol/http.js'
import { HaltedSequenceList, SequenceParams } from '../../../protocol/release.js'
import { listHaltedSequences, resumeSequence } from '../../../store/release/sequences.js'
import { ProblemError } from '../../problem.js'
import type { SettingDeps } from './setting.js'

export const sequenceRoutes: FastifyPluginAsyncTypebox<SettingDeps> = async (app, { db, reading, releaser }) => {
  app.get(
    '/api/sequences',
    {
      schema: {
        tags: ['operations'],
        operationId: 'listHaltedSequences',
        summary: 'List the halted sequences',
        description:
          'Those of your tenant whose first task has failed or expired, so that the tasks behind it wait; the latest first, at most 1,000.',
        response: { 200: HaltedSequenceList },
      },
    },
    async ({ principal }) => ({ items: await listHaltedSequences(principal, reading.byKey) }),
  )

  app.post(
    '/api/sequences/:key/resume',
    {
      schema: {
        tags: ['operations'],
        operationId: 'resumeSequence',
        summary: 'Resume a halted sequence',
        description: 'The tasks behind the one that has failed or expired run. That one keeps its status.',
        params: SequenceParams,
        response: { 204: NoBody, 400: Problem, 404: Problem },
      },
    },
    async ({ principal, params }, reply) => {
      if (!(await resumeSequence(principal, db, params.key)))
        throw new ProblemError('not_found', 'No sequence with this key is halted. GET /api/sequences lists them.')
      releaser.wake()
      return reply.code(204).send(undefined)
    },
  )
}
