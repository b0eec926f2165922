/** The definition of a task type, written by a developer. Validation, OpenAPI, the form and the docs derive from it. */
import type { Readable, Writable } from 'node:stream'
import type { Static, TNever, TSchema } from 'typebox'
import type { Principal } from '../access/principal.js'
import type { Database, Orm } from '../db/database.js'
import type { Log } from '../log.js'
import type { FieldError } from '../protocol/errors.js'
import type { CreateTask } from '../protocol/http.js'
import type { Per, WhenOver } from '../protocol/release.js'
import type { Task, TaskId, TaskSlot } from '../protocol/task.js'
import type { Backoff } from './backoff.js'

/** Number of failed attempts after which a task is FAILED, unless its type sets another. */
export const DEFAULT_ATTEMPTS = 3
/** The queue of types that name none. */
export const DEFAULT_QUEUE = 'default'

/** The attempt is no longer the task's current one: another worker has taken over, or the task has ended. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError'
}

/** PostgreSQL became unavailable during an operation of a handler's context. The attempt is put back and runs again. */
export class DatabaseAwayError extends Error {
  override readonly name = 'DatabaseAwayError'
}

/** The view and the operations of a running attempt. @typeParam Data data that the type reports with its progress */
export interface TaskContext<Data = unknown> {
  readonly taskId: TaskId
  readonly tenant: string
  /** The server acting for the task's tenant, for functions that read or write on behalf of a principal. */
  readonly principal: Principal
  /** The task as it was when this attempt began. */
  readonly task: Task
  /**
   * The slot of the schedule that created the task, and the last one before it that has a task; undefined for other tasks.
   * What happened since `previousSlot` and before `slot` is the part of this task, also after an outage.
   */
  readonly schedule: TaskSlot | undefined
  /** The number of the attempt, from 1. */
  readonly attempt: number
  /**
   * Aborts when the attempt should end. The reason is `cancelled`, `time limit`, `shutdown` (the attempt is released
   * and runs again), `lease lost` (another worker has taken over), or `failed` (an error of the run was not caught).
   */
  readonly signal: AbortSignal
  /**
   * A pino logger. Its lines go to the worker's log. From level `info` they are also stored with the task and shown
   * live, at most 1,000 per attempt.
   */
  readonly log: Log
  /** The database that Taskwire itself uses. */
  readonly db: Database
  /**
   * Reports progress. Cheap to call: only the latest value is stored and shown, so values in between may be skipped.
   * @param done units done so far, 0 or more
   * @param total units in all; omit when unknown
   * @param message a line for people, at most 500 characters
   * @param data for programs, by the type's `progress` schema, at most 2 KiB of JSON. Data that does not fit is left
   * out, with a warning in the task's log
   */
  progress(done: number, total?: number, message?: string, data?: Data): void
  /**
   * Sends a heartbeat, for a type with a heartbeat limit and no progress to report. Progress and log lines count as
   * heartbeats.
   */
  heartbeat(): void
  /** Waits. Rejects with the signal's reason as soon as it aborts. */
  sleep(milliseconds: number): Promise<void>
  /**
   * A writable stream for a file of the task. Once it has finished, the file can be downloaded. Replaces a file of the
   * same name.
   * @param name any Unicode of at most 255 bytes, without slashes, control characters and names that Windows reserves
   * @param options.mediaType e.g. `text/csv`. Types that browsers would execute are downloaded instead of shown.
   * Default `application/octet-stream`
   * @throws RangeError when the name or the media type is refused
   * @throws LeaseLostError, on the stream, when the attempt is no longer current; the file is then not kept
   * @throws DiskFullError, on the stream, when the disk has less than MIN_FREE_DISK_MB free. Do not catch it, and the
   * attempt is retried
   */
  artifact(name: string, options?: { mediaType?: string }): Writable
  /** Deletes a file of this task that the current attempt or an earlier one wrote. */
  removeArtifact(name: string): Promise<void>
  /** The content of a file of this task, or of an upload named in the payload. @throws Error when there is none */
  readArtifact(name: string, options?: { upload?: string }): Promise<Readable>
  /**
   * Creates a task whose parent is this one. The same call in a later attempt creates no second task: calls are
   * identified by type and order, or by `key`.
   * @throws TypeError when the type is unknown, or payload or options are invalid
   */
  create(type: string, payload?: unknown, options?: CreateChildOptions): Promise<TaskId>
  /**
   * Pauses a concurrency key of the task's tenant: no task with this key starts until then, as after an answer 429 that
   * concerns everyone who uses the key. A pause that ends later stays. Throw `PutBack` to have this task run again
   * afterwards, which is not counted as a failure.
   * @param until a time, or a number of milliseconds from now; at most 7 days ahead, later times are brought forward
   * @param reason for people, at most 500 characters
   * @throws RangeError for an empty key, or one above 200 characters, and for what is no time
   */
  pauseKey(key: string, until: Date | number, reason?: string): Promise<void>
  /**
   * Performs an effect outside this database once per task, however often the task is retried or rescued. The value
   * returned by `effect` is recorded under `key`, and a later attempt gets the record instead of repeating the effect.
   *
   * One window remains: a crash after the effect and before its record. Pass `idempotencyKey`, which is the same in
   * each attempt, to a provider that accepts one, and the effect happens once there too.
   * @param key names the effect within the task, 1 to 200 characters
   * @param effect its value must be JSON of at most 256 KiB
   * @throws LeaseLostError before the effect when the attempt is no longer current, and after its record
   */
  once<Value>(key: string, effect: (options: { idempotencyKey: string }) => Promise<Value>): Promise<Value>
  /**
   * Commits the handler's own rows and the outcome of the task together: both or neither. The value returned by `work`
   * is the task's result. Call it last: later work of the handler is not part of the task.
   * @param work receives drizzle over the transaction; it must have no effects that a rollback would not undo
   * @throws LeaseLostError when the attempt is no longer current; nothing was committed
   * @throws DatabaseAwayError when PostgreSQL became unavailable. Do not catch it, and the attempt is put back
   */
  transaction<Value>(work: (transaction: Orm) => Promise<Value>): Promise<Value>
  /**
   * A fencing token for writes to other systems. It grows with each attempt, so a receiver that refuses smaller tokens
   * than it has seen refuses an attempt that was paused and resumed too late.
   * @throws LeaseLostError when the attempt is no longer current
   * @see https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html
   */
  fence(): Promise<number>
}

/** Options of a task created by a handler; as for `POST /api/tasks`. */
export type CreateChildOptions = Omit<CreateTask, 'type' | 'payload'> & {
  /** Identifies the call within the task, instead of its position among those of the same type. */
  key?: string
}

/** How long an attempt may take, in milliseconds. A limit that is missing is off. */
export interface TimeLimits {
  /** Then the signal aborts with `time limit`, and the handler may clean up. */
  readonly softMs?: number
  /** Then the attempt has failed, even if the handler continues. In a process of its own it is killed. */
  readonly hardMs?: number
  /** After this long without progress, a log line or `heartbeat()`, the attempt has failed. */
  readonly heartbeatMs?: number
}

/** A limit over all workers: either `concurrency` or `rate`. */
export interface TypeLimit {
  /**
   * Lower-case letters, digits, `.`, `_` and `-`. Types that name the same limit share it, and must declare it alike.
   * Default: `<type>.concurrency` or `<type>.rate`, with `.tenant` or `.key` after it for those.
   */
  readonly name?: string
  /** What is counted: all tasks together (default), those of each tenant, or of each concurrency key of a tenant. */
  readonly per?: Per
  /** Most attempts at a time. */
  readonly concurrency?: number
  /** At most `limit` starts per `periodMs`, spread evenly; after a quiet time up to `burst` (default 1) at once. */
  readonly rate?: { readonly limit: number; readonly periodMs: number; readonly burst?: number }
  /** With `rate`: a task over it waits (`delay`, the default), or is CANCELLED (`skip`). */
  readonly whenOver?: WhenOver
}

/** The process in which the handler runs. */
type Isolation =
  /** The worker's process, shared with other handlers. For handlers that mostly wait. The default. */
  | 'none'
  /** A process of its own, which can be killed. For handlers that compute, or load code that may crash. */
  | 'process'

export interface Definition<
  Payload extends TSchema = TSchema,
  Result extends TSchema = TSchema,
  Progress extends TSchema = TSchema,
> {
  /** Dotted lower-case words, e.g. `report.generate`. */
  readonly type: string
  /** A few words for people. */
  readonly title: string
  /** A sentence or two: what it does, what it needs. */
  readonly description: string
  /** Schema of the input. Its defaults are filled in when a task is created. */
  readonly payload: Payload
  /**
   * Returns the errors of a payload that fits its schema, for rules that a schema cannot express: about two fields
   * together, or about a text. Each entry names a field; its `pointer` begins at the payload, e.g. `/url`. Called at
   * create (422) and edit, and again before each attempt, so it must be fast and depend on nothing but the payload.
   * Default: no errors.
   */
  checkPayload?(payload: Static<Payload>): readonly FieldError[]
  /** Schema of the value that `run` returns. */
  readonly result: Result
  /** Schema of the data reported with progress, for programs that follow the task. Default: none. */
  readonly progress?: Progress
  /**
   * Whether only the server may create tasks of this type: not clients, SQL or other handlers. Nor can such tasks be
   * edited. For built-in types; a project's types cannot set it. Default false.
   */
  readonly isInternal?: boolean
  /** The queue, which decides the workers: see WORKER_QUEUES. Default `default`. */
  readonly queue?: string
  /** 0 (default) to 9, which is taken first. A task may set another. */
  readonly priority?: number
  /** Number of failed attempts after which the task is FAILED. Default 3. */
  readonly attempts?: number
  /** Default: exponential from 1 s to an hour, with jitter. */
  readonly backoff?: Backoff
  /** Whether another attempt may help after this error. Default: always. */
  retryOn?(error: unknown): boolean
  readonly timeLimits?: TimeLimits
  /**
   * How long, in milliseconds, the handler may keep putting its task back (`PutBack`) without a failed attempt in
   * between. Then the task is FAILED (`put_back`). Default 7 days.
   */
  readonly putBackLimitMs?: number
  /**
   * Most attempts running at the same time in one worker. Default with `isolation: 'process'`: the number of
   * processors.
   */
  readonly concurrency?: number
  /**
   * Limits over all workers, whichever queue a task asks for. They are written to PostgreSQL when a process starts; the
   * one that started last decides. People can override each by its name: `PUT /api/limits/:name`.
   */
  readonly limits?: readonly TypeLimit[]
  /**
   * The concurrency key of a task that is created without one: what limits `per: 'key'`, pauses of keys and shares of
   * keys count. Undefined: none.
   */
  concurrencyKeyBy?(payload: Static<Payload>): string | undefined
  /** The sequence key of a task that is created without one: tasks with the same key run one after the other. */
  sequenceKeyBy?(payload: Static<Payload>): string | undefined
  /**
   * Identifies the subject of a task. While a task with the same key is unfinished, creating another returns that one.
   */
  uniqueBy?(payload: Static<Payload>): string
  readonly isolation?: Isolation
  /** With `isolation: 'process'`: the memory limit of the process, in MB. Above it, the process is killed. */
  readonly memoryLimitMb?: number
  /**
   * Performs the task. A thrown error fails the attempt with its message; `RetryLater`, `PermanentFailure` and
   * `CancelTask` decide what follows.
   */
  run(payload: Static<Payload>, context: TaskContext<Static<Progress>>): Promise<Static<Result>>
}

/**
 * Declares a task type.
 *
 * @example
 * defineTask({
 *   type: 'text.reverse',
 *   title: 'Reverse a text',
 *   description: 'Returns the text, last character first.',
 *   payload: Type.Object({ text: Type.String() }),
 *   result: Type.Object({ text: Type.String() }),
 *   async run({ text }) {
 *     return { text: [...text].reverse().join('') }
 *   },
 * })
 */
export function defineTask<
  const Type extends string,
  Payload extends TSchema,
  Result extends TSchema,
  Progress extends TSchema = TNever,
>(definition: TypedDefinition<Type, Payload, Result, Progress>): TypedDefinition<Type, Payload, Result, Progress> {
  return definition
}

/** A definition whose type name the compiler knows. */
export interface TypedDefinition<
  Type extends string,
  Payload extends TSchema,
  Result extends TSchema,
  Progress extends TSchema,
> extends Definition<Payload, Result, Progress> {
  readonly type: Type
}

/**
 * Payload, result and progress of each of these types, for `createClient`. Fields with a default may be omitted, as at
 * create.
 */
export type TaskTypesOf<
  Definitions extends readonly {
    readonly type: string
    readonly payload: TSchema
    readonly result: TSchema
    readonly progress?: TSchema
  }[],
> = {
  [Each in Definitions[number] as Each['type']]: {
    payload: Static<Each['payload']>
    result: Static<Each['result']>
    progress: Static<NonNullable<Each['progress']>>
  }
}
