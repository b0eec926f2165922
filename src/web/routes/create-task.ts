/** `POST /api/tasks`: stored, then answered, then handed to the broker. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import type { Broker } from '../../broker/broker.js'
import { crashPoint } from '../../crash-point.js'
import type { Database } from '../../db/database.js'
import type { Hub } from '../../live/hub.js'
import { CreateTask, CreateTaskHeaders, MAX_BODY_BYTES } from '../../protocol/http.js'
import { Problem } from '../../protocol/errors.js'
import { isFinal, type Status } from '../../protocol/status.js'
import { Task, type TaskId } from '../../protocol/task.js'
import { createBatcher } from '../../tasks/batcher.js'
import type { Registry } from '../../tasks/registry.js'
import { createTasks, createTasksOnce, readTasks, type CreatedTask, type KeyedTask, type NewTask, type OnceAnswer } from '../../tasks/store/index.js'
import type { HandOver } from '../hand-over.js'
import { fingerprintOf, readIdempotencyKey } from '../idempotency.js'
import { readNewTask, toNewTaskView } from '../new-task.js'
import { readPreferences } from '../preferences.js'
import { ProblemError } from '../problem.js'
import { DEFAULT_TENANT } from '../tenant.js'
import { waitForTask } from '../wait-for-task.js'

/** How long a strict create waits for the broker to answer. */
const STRICT_DEADLINE_MS = 1_000

export interface CreateTaskDeps {
  db: Database
  broker: Pick<Broker, 'ping'>
  registry: Registry
  hub: Hub
  handOver: HandOver
  /** How long workers have to claim what was handed over. */
  claimWindowMs: number
  /** How long an `Idempotency-Key` is kept. */
  keyTtlMs: number
}

export const createTaskRoute: FastifyPluginAsyncTypebox<CreateTaskDeps> = async (app, deps) => {
  const { db, broker, registry, hub, handOver, claimWindowMs, keyTtlMs } = deps
  const creates = createBatcher<NewTask, CreatedTask>({
    // One at a time makes batches twice as large, and the cost of a statement is mostly its own, not its rows'.
    maxInFlight: 1,
    async write(tasks) {
      const willHandOver = handOver.isOpen()
      crashPoint('create:before-commit')
      const created = await createTasks(db, tasks, willHandOver ? claimWindowMs : 0)
      crashPoint('create:after-commit')
      if (willHandOver) deliver(tasks, (index) => created[index]?.status)
      return created
    },
  })
  const keyedCreates = createBatcher<KeyedTask, OnceAnswer>({
    maxInFlight: 1,
    async write(tasks) {
      const willHandOver = handOver.isOpen()
      crashPoint('create:before-commit')
      const answers = await createTasksOnce(db, tasks, willHandOver ? claimWindowMs : 0, keyTtlMs)
      crashPoint('create:after-commit')
      const statusOf = (answer: OnceAnswer | undefined) => (answer?.kind === 'created' ? answer.created.status : undefined)
      if (willHandOver) deliver(tasks, (index) => statusOf(answers[index]))
      return answers
    },
  })

  function deliver(tasks: readonly NewTask[], statusAt: (index: number) => Status | undefined): void {
    const ready = tasks.filter((_, index) => statusAt(index) === 'PENDING')
    if (ready.length > 0) handOver.add(ready.map(({ id, priority }) => ({ taskId: id, attempt: 1, priority })))
  }

  // A client may have gone while its task is on the way; the database closes after this hook.
  app.addHook('onClose', async () => void (await Promise.all([creates.whenIdle(), keyedCreates.whenIdle()])))

  /** The task as accepted, by this request or by an earlier one with the same key. */
  async function accept(task: NewTask, keyed: Pick<KeyedTask, 'key' | 'fingerprint'> | undefined, reply: FastifyReply): Promise<Task> {
    if (keyed === undefined) return toNewTaskView(task, await creates.add(task))
    const answer = await keyedCreates.add({ ...task, ...keyed })
    switch (answer.kind) {
      case 'created':
        return toNewTaskView(task, answer.created)
      case 'repeated':
        reply.header('idempotent-replayed', 'true')
        return answer.task
      case 'mismatch':
        throw new ProblemError('key_reused', `The key ${keyed.key} came with another body before.`, [
          { pointer: '/idempotency-key', detail: 'was used for another request' },
        ])
    }
  }

  /** The task, if it ends in the time that the client would wait. */
  async function waitForEnd(id: TaskId, seconds: number, reply: FastifyReply): Promise<Task | undefined> {
    await waitForTask(hub, id, { since: undefined, waitMs: seconds * 1_000, client: reply.raw })
    const [task] = await readTasks(db, DEFAULT_TENANT, [id])
    return task && isFinal(task.status) ? task : undefined
  }

  async function assertBroker(): Promise<void> {
    await broker.ping({ deadlineMs: STRICT_DEADLINE_MS }).catch((error: unknown) => {
      app.log.warn({ err: error }, 'a strict create was refused: the broker does not answer')
      throw new ProblemError('broker_unavailable', 'The broker does not answer, and the request asked for handling=strict.')
    })
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
          'task if it has ended within 10 s, else 202 as always. With an `Idempotency-Key` the same request again gets the ' +
          'first answer (and the header `Idempotent-Replayed`), and makes no second task.',
        headers: CreateTaskHeaders,
        body: CreateTask,
        response: { 200: Task, 202: Task, 400: Problem, 413: Problem, 415: Problem, 422: Problem, 503: Problem },
      },
    },
    async (request, reply) => {
      const { prefer, 'idempotency-key': keyHeader } = request.headers
      const key = readIdempotencyKey(keyHeader)
      // Before the defaults of the payload are filled in.
      const keyed = key === undefined ? undefined : { key, fingerprint: fingerprintOf(request.body) }
      const task = readNewTask(request.body, DEFAULT_TENANT, registry)
      const { waitSeconds, isStrict } = readPreferences(prefer)
      if (isStrict) await assertBroker()
      const accepted = await accept(task, keyed, reply)
      reply.header('location', accepted.links.self)
      const applied = [waitSeconds > 0 && `wait=${waitSeconds}`, isStrict && 'handling=strict'].filter(Boolean)
      if (applied.length > 0) reply.header('preference-applied', applied.join(', '))
      const ended = waitSeconds > 0 ? await waitForEnd(accepted.id, waitSeconds, reply) : undefined
      reply.code(ended ? 200 : 202)
      return ended ?? accepted
    },
  )
}
