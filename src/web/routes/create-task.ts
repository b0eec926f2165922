/** `POST /api/tasks`: stored, then answered, then handed to the broker. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Database } from '../../db/database.js'
import { CreateTask, MAX_BODY_BYTES } from '../../protocol/http.js'
import { Problem } from '../../protocol/errors.js'
import { Task } from '../../protocol/task.js'
import { createBatcher } from '../../tasks/batcher.js'
import type { Registry } from '../../tasks/registry.js'
import { createTasks, type CreatedTask, type NewTask } from '../../tasks/store/index.js'
import type { HandOver } from '../hand-over.js'
import { readNewTask, toNewTaskView } from '../new-task.js'
import { DEFAULT_TENANT } from '../tenant.js'

export interface CreateTaskDeps {
  db: Database
  registry: Registry
  handOver: HandOver
  /** How long workers have to claim what was handed over. */
  claimWindowMs: number
}

export const createTaskRoute: FastifyPluginAsyncTypebox<CreateTaskDeps> = async (app, { db, registry, handOver, claimWindowMs }) => {
  const creates = createBatcher<NewTask, CreatedTask>({
    // One at a time makes batches twice as large, and the cost of a statement is mostly its own, not its rows'.
    maxInFlight: 1,
    async write(tasks) {
      const willHandOver = handOver.isOpen()
      const created = await createTasks(db, tasks, willHandOver ? claimWindowMs : 0)
      if (willHandOver) {
        const ready = tasks.filter((_, index) => created[index]?.status === 'PENDING')
        if (ready.length > 0) handOver.add(ready.map(({ id, priority }) => ({ taskId: id, attempt: 1, priority })))
      }
      return created
    },
  })

  // A client may have gone while its task is on the way; the database closes after this hook.
  app.addHook('onClose', () => creates.whenIdle())

  app.post(
    '/api/tasks',
    {
      bodyLimit: MAX_BODY_BYTES,
      schema: {
        tags: ['tasks'],
        summary: 'Create a task',
        description: 'Answers once the task is stored. `{"title": "example task"}` alone is valid.',
        body: CreateTask,
        response: { 202: Task, 400: Problem, 413: Problem, 415: Problem, 422: Problem, 503: Problem },
      },
    },
    async (request, reply) => {
      const task = readNewTask(request.body, DEFAULT_TENANT, registry)
      const created = await creates.add(task)
      const view = toNewTaskView(task, created)
      reply.code(202).header('location', view.links.self)
      return view
    },
  )
}
