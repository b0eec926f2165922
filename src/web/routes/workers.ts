/** The workers of this installation: what they serve and run, what is free, and draining one. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import { Type } from 'typebox'
import type { Database } from '../../db/database.js'
import type { Registry } from '../../definitions/registry.js'
import { linkTo } from '../../protocol/base-path.js'
import { Problem } from '../../protocol/errors.js'
import { Nullable } from '../../protocol/nullable.js'
import {
  DrainRequest,
  Worker,
  WorkerList,
  WorkerParams,
  type QueueCapacity,
  type WorkerQueue,
} from '../../protocol/worker.js'
import { listWaitingQueues } from '../../store/deliveries/take-due.js'
import { listQuarantinedTypes } from '../../store/quarantine.js'
import { drainWorker, listWorkers, resumeWorker } from '../../store/workers.js'
import { ProblemError } from '../problem.js'
import type { Reading } from '../reading.js'

export interface WorkerRoutesDeps {
  db: Database
  reading: Reading
  registry: Registry
}

export const workerRoutes: FastifyPluginAsyncTypebox<WorkerRoutesDeps> = async (app, { db, reading, registry }) => {
  app.get(
    '/api/workers',
    {
      schema: {
        tags: ['operations'],
        operationId: 'listWorkers',
        summary: 'List the workers',
        description:
          'Newest first and lost ones last, as of their last heartbeats, which workers send each second. `queues` adds up the workers that take tasks: a queue ' +
          'without one has tasks that wait. A lost worker is listed for an hour, at most 1,000 workers are.',
        response: { 200: WorkerList },
      },
    },
    async () => {
      const [items, waiting, quarantinedTypes] = await Promise.all([
        listWorkers(reading.byKey),
        listWaitingQueues(reading.byKey),
        listQuarantinedTypes(reading.byKey),
      ])
      const taking = items.filter(({ state }) => state === 'running')
      const known = new Set(taking.flatMap(({ types }) => types))
      return {
        items,
        queues: addUpQueues(
          taking.flatMap(({ queues }) => queues),
          new Set(waiting),
        ),
        typesWithoutWorker: registry
          .all()
          .map(({ definition }) => definition.type)
          .filter((type) => !known.has(type)),
        quarantinedTypes,
      }
    },
  )

  app.post(
    '/api/workers/:id/drain',
    {
      schema: {
        tags: ['operations'],
        operationId: 'drainWorker',
        summary: 'Drain a worker',
        description:
          'Within a second the worker takes no more tasks; those that it runs go on to their end. It then stays idle (`drained`) until it is ' +
          'stopped or resumed. A worker that drains already keeps the first reason.',
        params: WorkerParams,
        body: Type.Optional(Nullable(DrainRequest)),
        response: { 200: Worker, 400: Problem, 404: Problem },
      },
    },
    async (request, reply) => {
      const { body, params, principal } = request
      return answer(reply, await drainWorker(db, params.id, { by: principal.actor, reason: body?.reason ?? null }))
    },
  )

  app.post(
    '/api/workers/:id/resume',
    {
      schema: {
        tags: ['operations'],
        operationId: 'resumeWorker',
        summary: 'Let a drained worker take tasks again',
        params: WorkerParams,
        response: { 200: Worker, 404: Problem },
      },
    },
    async (request, reply) => answer(reply, await resumeWorker(db, request.params.id)),
  )
}

/** @throws ProblemError if there is no such worker */
function answer(reply: FastifyReply, worker: Worker | undefined) {
  if (worker === undefined)
    throw new ProblemError('not_found', `There is no worker with this id. GET ${linkTo('/api/workers')} lists them.`)
  return reply.code(200).send(worker)
}

/** Over the workers that take tasks, by name; and the queues that only have tasks. */
function addUpQueues(served: readonly WorkerQueue[], waiting: ReadonlySet<string>): QueueCapacity[] {
  const names = [...new Set([...served.map(({ name }) => name), ...waiting])].sort()
  return names.map((name) => {
    const ofName = served.filter((queue) => queue.name === name)
    const slots = sum(ofName.map((queue) => queue.slots))
    const running = sum(ofName.map((queue) => queue.running))
    return {
      name,
      workers: ofName.length,
      slots,
      running,
      free: Math.max(0, slots - running),
      hasWaiting: waiting.has(name),
    }
  })
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
