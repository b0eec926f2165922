/** Changes to an existing task: cancel it, and edit it while it waits. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { Principal } from '../../access/principal.js'
import type { Publisher } from '../../broker/publisher.js'
import type { Database } from '../../db/database.js'
import type { Registry } from '../../definitions/registry.js'
import { Problem } from '../../protocol/errors.js'
import { CancelRequest, EditTask, MAX_BODY_BYTES } from '../../protocol/http.js'
import { TaskParams } from '../../protocol/queries.js'
import { isFinal } from '../../protocol/status.js'
import { Nullable } from '../../protocol/nullable.js'
import { Task, type TaskId } from '../../protocol/task.js'
import { readTasks } from '../../store/reads/tasks.js'
import { cancelTasksIfUnfinished } from '../../store/tasks/cancel.js'
import { editTaskIfWaiting, type TaskEdit, readTaskToEdit } from '../../store/tasks/edit.js'
import { NewTaskError, readNewTask } from '../../tasks/create/new-task.js'
import { etagOf, hasStateOf } from '../etag.js'
import { ProblemError } from '../problem.js'
import { toNotFound } from '../task-reader.js'

export interface ChangeTaskDeps {
  db: Database
  publisher: Publisher
  registry: Registry
}

export const changeTaskRoutes: FastifyPluginAsyncTypebox<ChangeTaskDeps> = async (app, { db, publisher, registry }) => {
  async function read(principal: Principal, id: TaskId): Promise<Task> {
    const [task] = await readTasks(principal, db, [id])
    if (task === undefined) throw toNotFound(id)
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
          'A waiting task is CANCELLED at once; a running one is CANCELLING until its handler has stopped, for ' +
          'at most CANCEL_GRACE_SECONDS. Cancelling again changes nothing.',
        params: TaskParams,
        body: Type.Optional(Nullable(CancelRequest)),
        response: { 200: Task, 202: Task, 400: Problem, 404: Problem, 409: Problem, 503: Problem },
      },
    },
    async (request, reply) => {
      const id = request.params.id.toLowerCase()
      const { reason = null, children = false } = request.body ?? {}
      const transitions = await cancelTasksIfUnfinished(request.principal, db, [id], { reason, withChildren: children })
      publisher.publish(transitions)
      const task = await read(request.principal, id)
      const hasEndedOtherwise = isFinal(task.status) && task.status !== 'CANCELLED'
      if (transitions.length === 0 && hasEndedOtherwise)
        throw new ProblemError('not_cancellable', `The task is ${task.status}.`)
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
        summary: 'Edit a waiting task',
        description:
          'Omitted fields stay as they are, and so does the unique key. An edit is an event of the stream with the next `version`; one that changes ' +
          'nothing creates no version. With `If-Match`, the task is edited only if it still has that `ETag`.',
        params: TaskParams,
        body: EditTask,
        response: { 200: Task, 400: Problem, 404: Problem, 409: Problem, 412: Problem, 422: Problem, 503: Problem },
      },
    },
    async (request, reply) => {
      const id = request.params.id.toLowerCase()
      const found = await readTaskToEdit(request.principal, db, id)
      if (found === undefined) throw toNotFound(id)
      const { task, state } = found
      const wanted = request.headers['if-match'] ?? '*'
      assertSame(wanted, task)
      assertStartCanMove(request.body, task)
      const edit = readEdit(request.principal, request.body, task, registry)
      const edits = await editTaskIfWaiting(request.principal, db, id, edit, wanted === '*' ? undefined : state)
      if (edits) publisher.publish(edits)
      const now = await read(request.principal, id)
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
  throw new NewTaskError('invalid_task', '/runAt can only be set for a SCHEDULED task', [
    { pointer: '/runAt', detail: `can only be set for a SCHEDULED task; this one is ${status}`, fix: 'Omit it.' },
  ])
}

/** Checked as if the task were created with these values. @throws NewTaskError */
function readEdit({ tenant }: Principal, body: EditTask, task: Task, registry: Registry): TaskEdit {
  const { expiresAt, ...rest } = body
  // Whichever of the two is moved, the start must still be before `expiresAt`.
  const limit = expiresAt === undefined && body.runAt !== undefined ? task.expiresAt : expiresAt
  const start = expiresAt !== undefined && task.status === 'SCHEDULED' ? task.runAt : null
  const { title, payload, priority, tags, runAt } = readNewTask(
    {
      type: task.type,
      payload: task.payload,
      ...(start && { runAt: start }),
      ...rest,
      ...(limit && { expiresAt: limit }),
    },
    { tenant },
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

/** @throws ProblemError if the client has seen another state than this one */
function assertSame(ifMatch: string, task: Task): void {
  if (!hasStateOf(ifMatch, task))
    throw new ProblemError('version_mismatch', `The task is now at version ${task.version}.`)
}
