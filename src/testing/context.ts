/** A context in memory: it records what a handler reports, and no real time passes. */
import { Readable, Writable } from 'node:stream'
import { DEFAULT_TENANT, serviceOf } from '../access/principal.js'
import type { Database } from '../db/database.js'
import {
  DEFAULT_ATTEMPTS,
  DEFAULT_QUEUE,
  type CreateChildOptions,
  type TaskContext,
} from '../definitions/definition.js'
import { UnstorableError } from '../definitions/outcome-errors.js'
import type { Task, TaskId } from '../protocol/task.js'
import { checkArtifactLabel } from '../tasks/attempt/context/artifact-label.js'
import { readChild } from '../tasks/attempt/context/children.js'
import { EffectCalls } from '../tasks/attempt/context/effect-calls.js'
import { guardCalls } from '../tasks/attempt/context/handler-log.js'
import { readKeyPause } from '../tasks/attempt/context/key-pauses.js'
import { readLogLine } from '../tasks/attempt/context/log-line.js'
import { describeLostValue, EFFECT_LIMITS, toStorable } from '../tasks/attempt/storable.js'
import { toNewTaskView } from '../tasks/create/new-task.js'
import { createTaskId } from '../tasks/create/task-id.js'
import { assertMilliseconds } from '../timing/pause.js'

export interface ContextOptions {
  taskId?: string
  tenant?: string
  attempt?: number
  /** Other properties of `context.task` that the handler uses. */
  task?: Partial<Omit<Task, 'id' | 'attempt'>>
  signal?: AbortSignal
  /** For handlers that read the database; without one, access to it throws. */
  db?: Database
  /** The effects that an earlier attempt has recorded with `once`, by key. */
  effects?: ReadonlyMap<string, unknown>
  /** The files that earlier attempts have written, by name. */
  artifacts?: Reported['artifacts']
  /** The files that `readArtifact` finds: by name, or by the id of the upload. */
  files?: Readonly<Record<string, Buffer | string>>
}

/** Everything that a handler has reported. */
export interface Reported {
  progress: { done: number; total: number | undefined; message: string | undefined; data?: unknown }[]
  logs: { level: string; message: string; fields: Record<string, unknown> }[]
  /** By name; only finished files, including those of earlier attempts. */
  artifacts: Map<string, { mediaType: string; content: Buffer }>
  children: { id: string; type: string; payload: unknown; options: CreateChildOptions }[]
  /** Effects recorded by this run and those it was given, by key. */
  effects: Map<string, unknown>
  /** The keys that it has paused, until a time (ISO 8601) or for a number of milliseconds. */
  pausedKeys: { key: string; until: string | number; reason: string | null }[]
  /** The total time that the handler has slept, in milliseconds. No real time has passed. */
  sleptMs: number
  heartbeats: number
}

/** The crash points of `once`: the effect has happened and is not recorded, or is recorded. */
export type EffectPoint = `after-effect:${string}` | `after-record:${string}`

export interface ContextHooks {
  /** Throws if the data does not match the type's schema. */
  checkData?(data: unknown): void
  /** Called at each crash point; never settles if the worker dies there. */
  reach?(point: EffectPoint): Promise<void>
  /** Called when the handler sleeps for this long. */
  sleep?(milliseconds: number): Promise<void>
  /** Called at each heartbeat. */
  alive?(): void
}

export function createTestContext(
  options: ContextOptions = {},
  { checkData, reach, sleep, alive }: ContextHooks = {},
): { context: TaskContext; reported: Reported } {
  const reported: Reported = {
    progress: [],
    logs: [],
    artifacts: new Map(options.artifacts),
    children: [],
    effects: new Map(options.effects),
    pausedKeys: [],
    sleptMs: 0,
    heartbeats: 0,
  }
  const { taskId = createTaskId(), tenant = DEFAULT_TENANT, attempt = 1 } = options
  const signal = options.signal ?? new AbortController().signal
  const calls = new EffectCalls()

  async function doOnce(key: string, effect: Parameters<TaskContext['once']>[1]): Promise<unknown> {
    if (reported.effects.has(key)) return reported.effects.get(key)
    const stored = toStorable(await effect({ idempotencyKey: `${taskId}:${key}` }), EFFECT_LIMITS)
    await reach?.(`after-effect:${key}`)
    if (stored.violation) throw new UnstorableError('invalid_effect', describeLostValue(key, stored.violation))
    reported.effects.set(key, stored.value)
    await reach?.(`after-record:${key}`)
    return stored.value
  }

  const context: TaskContext = {
    taskId,
    tenant,
    principal: serviceOf(tenant, `task:${taskId}`),
    task: makeTask(taskId, attempt, options),
    attempt,
    get schedule() {
      return context.task.schedule ?? undefined
    },
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
      assertMilliseconds(milliseconds)
      signal.throwIfAborted()
      reported.sleptMs += milliseconds
      await sleep?.(milliseconds)
    },
    ...keepFiles(reported, options.files),
    async create(type, payload, childOptions = {}) {
      readChild(type, payload, childOptions)
      const id = createTaskId()
      reported.children.push({ id, type, payload, options: childOptions })
      return id
    },
    async pauseKey(key, until, reason) {
      reported.pausedKeys.push(readKeyPause(key, until, reason))
    },
    once: async (key, effect) => (await calls.share(key, effect, () => doOnce(key, effect))) as never,
    transaction: (work) =>
      options.db === undefined ? work(undefined as never) : options.db.transaction(({ orm }) => work(orm)),
    fence: async () => context.attempt,
  }
  return { context, reported }
}

/** The files of the task, in memory. @param given further files to read: by name, or by the id of the upload */
function keepFiles(
  { artifacts }: Reported,
  given: ContextOptions['files'] = {},
): Pick<TaskContext, 'artifact' | 'removeArtifact' | 'readArtifact'> {
  return {
    artifact(name, { mediaType: givenType } = {}) {
      const mediaType = checkArtifactLabel(name, givenType)
      const chunks: Buffer[] = []
      return new Writable({
        write: (chunk: Buffer, _, callback) => callback(void chunks.push(chunk)),
        final: (callback) => callback(void artifacts.set(name, { mediaType, content: Buffer.concat(chunks) })),
      })
    },
    async removeArtifact(name) {
      artifacts.delete(name)
    },
    async readArtifact(name, { upload } = {}) {
      const content = upload === undefined ? (artifacts.get(name)?.content ?? given[name]) : given[upload]
      if (content === undefined) throw new Error(`the test has no file ${upload ?? name}: pass it in \`files\``)
      return Readable.from(Buffer.from(content))
    },
  }
}

/** A first run, unless the options say otherwise. */
function makeTask(id: TaskId, attempt: number, { tenant = DEFAULT_TENANT, task }: ContextOptions): Task {
  const plain = {
    type: 'test',
    title: 'a test',
    payload: {},
    queue: DEFAULT_QUEUE,
    priority: 0,
    tags: [],
    maxAttempts: DEFAULT_ATTEMPTS,
    runAt: null,
    delayMs: null,
  }
  const createdAt = new Date()
  const created = toNewTaskView({ id, tenant, ...plain }, { id, status: 'PENDING', runAt: null, createdAt })
  return {
    ...created,
    status: 'PROCESSING',
    version: attempt * 2,
    startedAt: createdAt.toISOString(),
    ...task,
    attempt,
  }
}

function readLine(line: string): Reported['logs'][number] {
  const { level, message, fields } = readLogLine(line)
  return { level, message, fields }
}
