/** A context in memory: it keeps what a handler reports, and lets no time pass. */
import { DEFAULT_TENANT, serviceOf } from '../access/principal.js'
import { Readable, Writable } from 'node:stream'
import type { Database } from '../db/database.js'
import { DEFAULT_ATTEMPTS, DEFAULT_QUEUE, type CreateChildOptions, type TaskContext } from '../definitions/definition.js'
import { UnstorableError } from '../definitions/outcome-errors.js'
import type { Task, TaskId } from '../protocol/task.js'
import { checkArtifactLabel } from '../tasks/attempt/context/artifact-label.js'
import { guardCalls } from '../tasks/attempt/context/handler-log.js'
import { readLogLine } from '../tasks/attempt/context/log-line.js'
import { describeLostValue, EFFECT_LIMITS, toStorable } from '../tasks/attempt/storable.js'
import { toNewTaskView } from '../tasks/create/new-task.js'
import { createTaskId } from '../tasks/create/task-id.js'

export interface ContextOptions {
  taskId?: string
  tenant?: string
  attempt?: number
  /** What else of `context.task` matters to the handler. */
  task?: Partial<Omit<Task, 'id' | 'attempt'>>
  signal?: AbortSignal
  /** For handlers that read the database; without one, asking for it throws. */
  db?: Database
  /** What an earlier attempt has recorded with `once`, by key. */
  effects?: ReadonlyMap<string, unknown>
  /** What earlier attempts have written, by name. */
  artifacts?: Reported['artifacts']
  /** What `readArtifact` finds: by the name, or by the id of the upload. */
  files?: Readonly<Record<string, Buffer | string>>
}

/** What a handler has reported. */
export interface Reported {
  progress: { done: number; total: number | undefined; message: string | undefined; data?: unknown }[]
  logs: { level: string; message: string; fields: Record<string, unknown> }[]
  /** By name; only those that were finished, those of earlier attempts among them. */
  artifacts: Map<string, { mediaType: string; content: Buffer }>
  children: { id: string; type: string; payload: unknown; options: CreateChildOptions }[]
  /** Effects recorded by this run and those it was given, by key. */
  effects: Map<string, unknown>
  /** What `sleep` was asked for, in all, in milliseconds. No time has passed. */
  sleptMs: number
  heartbeats: number
}

/** Where a worker may die that `once` knows of: the effect has happened and is not recorded, or is recorded. */
export type EffectPoint = `after-effect:${string}` | `after-record:${string}`

export interface ContextHooks {
  /** Throws when data does not fit the type. */
  checkData?(data: unknown): void
  /** Called where a worker may die; does not settle when it does. */
  reach?(point: EffectPoint): Promise<void>
  /** Called when the handler wants so much time to pass. */
  sleep?(milliseconds: number): Promise<void>
  /** Called at each sign of life. */
  alive?(): void
}

export function createTestContext(options: ContextOptions = {}, { checkData, reach, sleep, alive }: ContextHooks = {}): { context: TaskContext; reported: Reported } {
  const reported: Reported = {
    progress: [],
    logs: [],
    artifacts: new Map(options.artifacts),
    children: [],
    effects: new Map(options.effects),
    sleptMs: 0,
    heartbeats: 0,
  }
  const { taskId = createTaskId(), tenant = DEFAULT_TENANT, attempt = 1 } = options
  const signal = options.signal ?? new AbortController().signal
  const context: TaskContext = {
    taskId,
    tenant,
    principal: serviceOf(tenant, `task:${taskId}`),
    task: makeTask(taskId, attempt, options),
    attempt,
    signal,
    log: guardCalls('trace', (line) => void (reported.logs.push(readLine(line)), alive?.())),
    get db(): Database {
      if (options.db === undefined) throw new Error('this test has no database: pass one as `db`')
      return options.db
    },
    progress(done, total, message, data) {
      if (data !== undefined) checkData?.(data)
      alive?.()
      reported.progress.push({ done, total, message, ...(data !== undefined && { data }) })
    },
    heartbeat() {
      reported.heartbeats += 1
      alive?.()
    },
    async sleep(milliseconds) {
      signal.throwIfAborted()
      reported.sleptMs += milliseconds
      await sleep?.(milliseconds)
    },
    artifact(name, { mediaType: givenType } = {}) {
      const mediaType = checkArtifactLabel(name, givenType)
      const chunks: Buffer[] = []
      return new Writable({
        write: (chunk: Buffer, _, callback) => callback(void chunks.push(chunk)),
        final: (callback) => callback(void reported.artifacts.set(name, { mediaType, content: Buffer.concat(chunks) })),
      })
    },
    async removeArtifact(name) {
      reported.artifacts.delete(name)
    },
    async readArtifact(name, { upload } = {}) {
      const content = upload === undefined ? (reported.artifacts.get(name)?.content ?? options.files?.[name]) : options.files?.[upload]
      if (content === undefined) throw new Error(`the test has no file ${upload ?? name}: pass it in \`files\``)
      return Readable.from(Buffer.from(content))
    },
    async create(type, payload, childOptions = {}) {
      const id = createTaskId()
      reported.children.push({ id, type, payload, options: childOptions })
      return id
    },
    async once(key, effect) {
      if (reported.effects.has(key)) return reported.effects.get(key) as never
      const stored = toStorable(await effect({ idempotencyKey: `${context.taskId}:${key}` }), EFFECT_LIMITS)
      await reach?.(`after-effect:${key}`)
      if (stored.violation) throw new UnstorableError('invalid_effect', describeLostValue(key, stored.violation))
      const { value } = stored
      reported.effects.set(key, value)
      await reach?.(`after-record:${key}`)
      return value as never
    },
    transaction: (work) => (options.db === undefined ? work(undefined as never) : options.db.transaction(({ orm }) => work(orm))),
    fence: async () => context.attempt,
  }
  return { context, reported }
}

/** In its first run, as far as the options do not say otherwise. */
function makeTask(id: TaskId, attempt: number, { tenant = DEFAULT_TENANT, task }: ContextOptions): Task {
  const plain = { ...{ type: 'test', title: 'a test', payload: {}, queue: DEFAULT_QUEUE, priority: 0, tags: [] }, maxAttempts: DEFAULT_ATTEMPTS, runAt: null, delayMs: null }
  const createdAt = new Date()
  const created = toNewTaskView({ id, tenant, ...plain }, { id, status: 'PENDING', runAt: null, createdAt })
  return { ...created, status: 'PROCESSING', version: attempt * 2, startedAt: createdAt.toISOString(), ...task, attempt }
}

function readLine(line: string): Reported['logs'][number] {
  const { level, message, fields } = readLogLine(line)
  return { level, message, fields }
}
