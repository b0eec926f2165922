/** `POST /api/tasks`: stored, then answered, then handed to the broker. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import type { Database } from '../../db/database.js'
import type { Hub } from '../../live/hub.js'
import { CreateTask, MAX_BODY_BYTES, MAX_WAIT_SECONDS } from '../../protocol/http.js'
import { Problem } from '../../protocol/errors.js'
import { isFinal } from '../../protocol/status.js'
import { Task, type TaskId } from '../../protocol/task.js'
import { createBatcher } from '../../tasks/batcher.js'
import type { Registry } from '../../tasks/registry.js'
import { createTasks, readTasks, type CreatedTask, type NewTask } from '../../tasks/store/index.js'
import type { HandOver } from '../hand-over.js'
import { readNewTask, toNewTaskView } from '../new-task.js'
import { DEFAULT_TENANT } from '../tenant.js'
import { waitForTask } from '../wait-for-task.js'

export interface CreateTaskDeps {
  db: Database
  registry: Registry
  hub: Hub
  handOver: HandOver
  /** How long workers have to claim what was handed over. */
  claimWindowMs: number
}

export const createTaskRoute: FastifyPluginAsyncTypebox<CreateTaskDeps> = async (app, { db, registry, hub, handOver, claimWindowMs }) => {
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

  /** RFC 7240 section 4.3: the task, if it ends in the time that the client would wait. */
  async function waitAsPreferred(prefer: string, id: TaskId, reply: FastifyReply): Promise<Task | undefined> {
    const seconds = Math.min(Number(/(?:^|,)\s*wait\s*=\s*"?(\d+)/i.exec(prefer)?.[1] ?? 0), MAX_WAIT_SECONDS)
    if (seconds === 0) return undefined
    reply.header('preference-applied', `wait=${seconds}`)
    await waitForTask(hub, id, { since: undefined, waitMs: seconds * 1_000, client: reply.raw })
    const [task] = await readTasks(db, DEFAULT_TENANT, [id])
    return task && isFinal(task.status) ? task : undefined
  }

  app.post(
    '/api/tasks',
    {
      bodyLimit: MAX_BODY_BYTES,
      schema: {
        tags: ['tasks'],
        summary: 'Create a task',
        description:
          'Answers once the task is stored. `{"title": "example task"}` alone is valid. With `Prefer: wait=10`: 200 with the ' +
          'task if it has ended within 10 s, else 202 as always.',
        body: CreateTask,
        response: { 200: Task, 202: Task, 400: Problem, 413: Problem, 415: Problem, 422: Problem, 503: Problem },
      },
    },
    async (request, reply) => {
      const task = readNewTask(request.body, DEFAULT_TENANT, registry)
      const created = await creates.add(task)
      const view = toNewTaskView(task, created)
      reply.header('location', view.links.self)
      const { prefer } = request.headers
      const ended = prefer === undefined ? undefined : await waitAsPreferred(String(prefer), task.id, reply)
      reply.code(ended ? 200 : 202)
      return ended ?? view
    },
  )
}
