/** `POST /api/tasks` and `/api/tasks/batch`: stored, then answered, then dispatched to the broker. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyBaseLogger, FastifyReply } from 'fastify'
import type { Principal } from '../../access/principal.js'
import type { Broker } from '../../broker/broker.js'
import type { Database } from '../../db/database.js'
import type { Registry } from '../../definitions/registry.js'
import type { Hub } from '../../live/hub.js'
import { Problem } from '../../protocol/errors.js'
import { Batch, CreateBatch, CreateTask, MAX_BATCH_BYTES, MAX_BODY_BYTES } from '../../protocol/http.js'
import { isFinal } from '../../protocol/status.js'
import { Task, type TaskId } from '../../protocol/task.js'
import { readTasks } from '../../store/reads/tasks.js'
import type { NewTask } from '../../store/tasks/create.js'
import { NewTaskError, readNewTask } from '../../tasks/create/new-task.js'
import type { RequestKey, TaskCreator } from '../../tasks/create/task-creator.js'
import { createTaskId } from '../../tasks/create/task-id.js'
import { assertCallbackUrl } from '../callback-url.js'
import { fingerprintOf, fingerprintOfBatch, readIdempotencyKey } from '../idempotency.js'
import type { StreamLimits } from '../live/stream-limits.js'
import { waitForTask } from '../live/wait-for-task.js'
import { mapInPortions } from '../portions.js'
import { readPreferences } from '../preferences.js'
import { ProblemError } from '../problem.js'

/** How long a strict create waits for the broker to answer. */
const STRICT_DEADLINE_MS = 1_000

export interface CreateTaskDeps {
  creator: TaskCreator
  db: Database
  broker: Pick<Broker, 'ping'>
  registry: Registry
  hub: Hub
  limits: Pick<StreamLimits, 'tryEnter'>
  /** Whether callbacks may go to private addresses. */
  allowPrivate: boolean
}

export const createTaskRoute: FastifyPluginAsyncTypebox<CreateTaskDeps> = async (app, deps) => {
  const { creator, broker, registry, limits, allowPrivate } = deps

  /** @throws NewTaskError */
  function read({ tenant }: Principal, body: CreateTask, batchId?: TaskId): NewTask {
    if (body.callbackUrl !== undefined) assertCallbackUrl(body.callbackUrl, allowPrivate)
    return readNewTask(body, { tenant, ...(batchId && { batchId }) }, registry)
  }

  app.post(
    '/api/tasks',
    {
      bodyLimit: MAX_BODY_BYTES,
      schema: {
        tags: ['tasks'],
        operationId: 'createTask',
        summary: 'Create a task',
        description:
          'Answers once the task is stored. `{"title": "example task"}` alone is valid. With `Prefer: wait=10`: 200 with the ' +
          'task if it has ended within 10 s, otherwise 202; a wait counts as a stream, and without room for one the answer is 202 at once. With an `Idempotency-Key`, repeating the request returns the ' +
          'first answer (with the header `Idempotent-Replayed`) and creates no second task. With a unique key that an ' +
          'unfinished task already has, or a debounce key that a SCHEDULED task has (which is changed): 200 with that task, and ' +
          '`Existing-Task: true`.',
        body: CreateTask,
        response: { 200: Task, 202: Task, 400: Problem, 413: Problem, 415: Problem, 422: Problem, 503: Problem },
      },
    },
    async (request, reply) => {
      const { prefer, 'idempotency-key': keyHeader } = request.headers
      const key = await readKey(keyHeader, () => fingerprintOf(request.body))
      const task = read(request.principal, request.body)
      const { waitSeconds, isStrict } = readPreferences(prefer)
      if (isStrict) await assertBroker(broker, request.log)
      const { task: accepted, kind } = await creator.accept(request.principal, task, key)
      reply.header('location', accepted.links.self)
      if (kind === 'replayed') reply.header('idempotent-replayed', 'true')
      const isExisting = kind === 'existing' || kind === 'debounced'
      if (isExisting) reply.header('existing-task', 'true')
      // A wait is a preference (RFC 7240): the task is not refused if there is no room for another stream.
      const leave = waitSeconds > 0 ? limits.tryEnter(request) : undefined
      const applied = [leave && `wait=${waitSeconds}`, isStrict && 'handling=strict'].filter(Boolean)
      if (applied.length > 0) reply.header('preference-applied', applied.join(', '))
      const ended = leave && (await waitForEnd(deps, accepted.id, waitSeconds, reply).finally(leave))
      reply.code(ended !== undefined || isExisting ? 200 : 202)
      return ended ?? accepted
    },
  )

  app.post(
    '/api/tasks/batch',
    {
      bodyLimit: MAX_BATCH_BYTES,
      schema: {
        tags: ['tasks'],
        operationId: 'createTasks',
        summary: 'Create many tasks at once',
        description:
          'All tasks, or none: errors name the position in the list. The answer has the tasks in the same order, without payloads (as in lists). Follow them together with ' +
          '`GET /api/tasks/events?batch=<batchId>`, or `{ batch }` as a selection on `/ws/tasks`.',
        body: CreateBatch,
        response: { 202: Batch, 400: Problem, 413: Problem, 415: Problem, 422: Problem, 503: Problem },
      },
    },
    async (request, reply) => {
      const key = await readKey(request.headers['idempotency-key'], () => fingerprintOfBatch(request.body))
      const batchId = createTaskId()
      const tasks = await mapInPortions(request.body.tasks, (body, index) =>
        readAtPosition(index, () => read(request.principal, body, batchId)),
      )
      if (readPreferences(request.headers.prefer).isStrict) await assertBroker(broker, request.log)
      const accepted = await creator.acceptAll(request.principal, sortIds(tasks), key)
      if (accepted[0]?.kind === 'replayed') reply.header('idempotent-replayed', 'true')
      const ofBatch = accepted.find(({ kind }) => kind === 'created' || kind === 'replayed')
      reply.code(202)
      return { batchId: ofBatch?.task.batchId ?? batchId, items: accepted.map(({ task }) => task) }
    },
  )
}

/** The task, if it ends within the time that the client is willing to wait. */
async function waitForEnd(
  { db, hub }: Pick<CreateTaskDeps, 'db' | 'hub'>,
  id: TaskId,
  seconds: number,
  reply: FastifyReply,
): Promise<Task | undefined> {
  const { principal } = reply.request
  await waitForTask(principal, hub, id, { since: undefined, waitMs: seconds * 1_000, client: reply.raw })
  const [task] = await readTasks(principal, db, [id])
  return task && isFinal(task.status) ? task : undefined
}

/** @throws ProblemError `broker_unavailable` */
async function assertBroker(broker: CreateTaskDeps['broker'], log: FastifyBaseLogger): Promise<void> {
  await broker.ping({ deadlineMs: STRICT_DEADLINE_MS }).catch((error: unknown) => {
    log.warn({ err: error }, 'refused a strict create: the broker does not answer')
    throw new ProblemError(
      'broker_unavailable',
      'The broker does not answer, and the request asked for handling=strict.',
    )
  })
}

/** The fingerprint is taken before the defaults of the payload are filled in. */
async function readKey(
  header: string | string[] | undefined,
  takeFingerprint: () => string | Promise<string>,
): Promise<RequestKey | undefined> {
  const key = readIdempotencyKey(header)
  return key === undefined ? undefined : { key, fingerprint: await takeFingerprint() }
}

/** A debounced create may also be refused later, because of the task that it would change. */
function readAtPosition(index: number, readTask: () => NewTask): NewTask {
  const task = atPosition(index, readTask)
  const { debounce } = task
  if (debounce === undefined) return task
  return { ...task, debounce: { ...debounce, apply: (...given) => atPosition(index, () => debounce.apply(...given)) } }
}

/** The error of a task in a batch includes its position. */
function atPosition<Value>(index: number, read: () => Value): Value {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof NewTaskError)) throw error
    const errors = error.errors.map((field) => ({ ...field, pointer: `/tasks/${index}${field.pointer}` }))
    throw new NewTaskError(error.code, `Task ${index} of the batch: ${error.message}`, errors)
  }
}

/** A batch is read back in the order of its ids, which are generated in the same millisecond. */
function sortIds(tasks: readonly NewTask[]): NewTask[] {
  const ids = tasks.map(({ id }) => id).sort()
  return tasks.map((task, index) => ({ ...task, id: ids[index] ?? task.id }))
}
