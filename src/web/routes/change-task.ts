/** What may be done to a task that exists: cancel it, and edit it while it waits. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { Publisher } from '../../broker/publisher.js'
import type { Database } from '../../db/database.js'
import type { Registry } from '../../definitions/registry.js'
import { Problem } from '../../protocol/errors.js'
import { CancelRequest, EditTask, MAX_BODY_BYTES, TaskParams } from '../../protocol/http.js'
import { isFinal } from '../../protocol/status.js'
import { Task, type TaskId } from '../../protocol/task.js'
import { readTasks } from '../../store/reads/tasks.js'
import { cancelTasksIfUnfinished } from '../../store/tasks/cancel.js'
import { editTaskIfWaiting, type TaskEdit } from '../../store/tasks/edit.js'
import { NewTaskError, readNewTask } from '../../tasks/create/new-task.js'
import { etagOf, hasEtag } from '../etag.js'
import { ProblemError } from '../problem.js'
import { DEFAULT_TENANT } from '../tenant.js'

export interface ChangeTaskDeps {
  db: Database
  publisher: Publisher
  registry: Registry
}

export const changeTaskRoutes: FastifyPluginAsyncTypebox<ChangeTaskDeps> = async (app, { db, publisher, registry }) => {
  async function read(id: TaskId): Promise<Task> {
    const [task] = await readTasks(db, DEFAULT_TENANT, [id])
    if (task === undefined) throw new ProblemError('task_not_found', `There is no task ${id}.`)
    return task
  }

  app.post(
    '/api/tasks/:id/cancel',
    {
      schema: {
        tags: ['tasks'],
        operationId: 'cancelTask',
        summary: 'Cancel a task',
        description:
          'A task that waits is CANCELLED at once; one that runs is CANCELLING until its handler has stopped, for ' +
          'CANCEL_GRACE_SECONDS at most. Cancelling again changes nothing.',
        params: TaskParams,
        body: Type.Optional(Type.Union([CancelRequest, Type.Null()])),
        response: { 200: Task, 202: Task, 400: Problem, 404: Problem, 409: Problem, 503: Problem },
      },
    },
    async (request, reply) => {
      const id = request.params.id.toLowerCase()
      const { reason = null, children = false } = request.body ?? {}
      const transitions = await cancelTasksIfUnfinished(db, DEFAULT_TENANT, [id], { reason, withChildren: children })
      publisher.publish(transitions)
      const task = await read(id)
      const hasEndedOtherwise = isFinal(task.status) && task.status !== 'CANCELLED'
      if (transitions.length === 0 && hasEndedOtherwise) throw new ProblemError('not_cancellable', `The task is ${task.status}.`)
      reply.code(task.status === 'CANCELLING' ? 202 : 200)
      return task
    },
  )

  app.patch(
    '/api/tasks/:id',
    {
      bodyLimit: MAX_BODY_BYTES,
      schema: {
        tags: ['tasks'],
        operationId: 'editTask',
        summary: 'Edit a task that waits',
        description:
          'What is left out stays as it is, its unique key too. An edit is an event of the stream with the next `version`; one that changes ' +
          'nothing makes none. With `If-Match`, only the state with that `ETag` is changed.',
        params: TaskParams,
        body: EditTask,
        response: { 200: Task, 400: Problem, 404: Problem, 409: Problem, 412: Problem, 422: Problem, 503: Problem },
      },
    },
    async (request, reply) => {
      const id = request.params.id.toLowerCase()
      const task = await read(id)
      const wanted = request.headers['if-match'] ?? '*'
      assertSame(wanted, task)
      assertStartCanMove(request.body, task)
      const edit = readEdit(request.body, task, registry)
      const edits = await editTaskIfWaiting(db, DEFAULT_TENANT, id, edit, wanted === '*' ? undefined : task)
      if (edits) publisher.publish(edits)
      const now = await read(id)
      if (edits) return reply.header('etag', etagOf(now)).send(now)
      assertSame(wanted, now)
      assertStartCanMove(request.body, now)
      throw new ProblemError('not_editable', `The task is ${now.status}.`)
    },
  )
}

/** @throws NewTaskError */
function assertStartCanMove({ runAt }: EditTask, { status }: Task): void {
  if (runAt === undefined || status === 'SCHEDULED' || isFinal(status)) return
  throw new NewTaskError('invalid_task', '/runAt belongs to a task that is SCHEDULED', [
    { pointer: '/runAt', detail: `belongs to a task that is SCHEDULED; this one is ${status}`, fix: 'Leave it out.' },
  ])
}

/** Checked as if the task were created like that. @throws NewTaskError */
function readEdit(body: EditTask, task: Task, registry: Registry): TaskEdit {
  const { expiresAt, ...rest } = body
  // A start that is moved must still lie before the end of the patience.
  const limit = expiresAt === undefined && body.runAt !== undefined ? task.expiresAt : expiresAt
  const { title, payload, priority, tags, runAt } = readNewTask(
    { type: task.type, payload: task.payload, ...rest, ...(limit && { expiresAt: limit }) },
    { tenant: DEFAULT_TENANT },
    registry,
  )
  return {
    ...(body.title !== undefined && { title }),
    ...(body.payload !== undefined && { payload }),
    ...(body.priority !== undefined && { priority }),
    ...(body.tags !== undefined && { tags }),
    ...(body.runAt !== undefined && runAt !== null && { runAt }),
    ...(expiresAt !== undefined && { expiresAt: expiresAt === null ? null : new Date(expiresAt).toISOString() }),
  }
}

/** @throws ProblemError when the client has seen another state than this one */
function assertSame(ifMatch: string, task: Task): void {
  if (!hasEtag(ifMatch, etagOf(task))) throw new ProblemError('version_mismatch', `The task is at version ${task.version} now.`)
}
