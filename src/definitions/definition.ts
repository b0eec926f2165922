/** What a developer writes: one definition per type of task. From it come validation, OpenAPI, the form and the docs. */
import type { Readable, Writable } from 'node:stream'
import type { Static, TNever, TSchema } from 'typebox'
import type { Principal } from '../access/principal.js'
import type { Database, Orm } from '../db/database.js'
import type { Log } from '../log.js'
import type { FieldError } from '../protocol/errors.js'
import type { CreateTask } from '../protocol/http.js'
import type { Task, TaskId } from '../protocol/task.js'
import type { Backoff } from './backoff.js'

/** After so many failed attempts a task is FAILED, unless its type says otherwise. */
export const DEFAULT_ATTEMPTS = 3
/** The queue of types that name none. */
export const DEFAULT_QUEUE = 'default'

/** The attempt is no longer the task's current one: another worker has taken over, or the task has ended. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError'
}

/** PostgreSQL went away in the middle of what a handler had asked of its context. The attempt is put back, and runs again. */
export class DatabaseAwayError extends Error {
  override readonly name = 'DatabaseAwayError'
}

/**
 * What a running attempt can see and do.
 * @typeParam Data what its type says with its progress
 */
export interface TaskContext<Data = unknown> {
  readonly taskId: TaskId
  readonly tenant: string
  /** The server in the name of the task's tenant: for functions that read or write what belongs to one. */
  readonly principal: Principal
  /** The task as it stood when this run began. */
  readonly task: Task
  /** The run's number, from 1. */
  readonly attempt: number
  /**
   * Aborts when the attempt should end. Its reason says why: `cancelled`, `time limit`, `shutdown` (the attempt is handed
   * back and runs again), `lease lost` (another worker has taken over), or `failed` (an error of the run was not caught).
   */
  readonly signal: AbortSignal
  /** A pino logger. Its lines go to the log of the worker; from `info` up they are stored with the task and shown live, at most 1,000 a run. */
  readonly log: Log
  /** The database that Taskwire itself uses. */
  readonly db: Database
  /**
   * Says how far the run is. Cheap: the latest value is stored and shown, values in between may be skipped.
   * @param done units done so far, 0 or more
   * @param total units in all; leave out when unknown
   * @param message a line for people, at most 500 characters
   * @param data for programs, by the type's `progress` schema, at most 2 KiB of JSON. What does not fit is left out, and the task's log says so
   */
  progress(done: number, total?: number, message?: string, data?: Data): void
  /** A sign of life, for a type with a heartbeat limit that has no progress to report. Progress and log lines count, too. */
  heartbeat(): void
  /** Waits; rejects with the reason of the signal as soon as that aborts. */
  sleep(milliseconds: number): Promise<void>
  /**
   * A file of the task, as a stream to write to; when it has finished, the file is there for download. One of the same name is
   * replaced.
   * @param name any Unicode of at most 255 bytes, without slashes, control characters and what Windows reserves
   * @param options.mediaType such as `text/csv`. What browsers would run is downloaded instead of shown. Default `application/octet-stream`
   * @throws RangeError when the name or the media type is refused
   * @throws LeaseLostError, by the stream, when the attempt is no longer current; nothing is kept then
   * @throws DiskFullError, by the stream, when the disk has less than MIN_FREE_DISK_MB free: let it pass, and the attempt is tried again
   */
  artifact(name: string, options?: { mediaType?: string }): Writable
  /** Removes a file of this task that the current attempt, or an earlier one, has written. */
  removeArtifact(name: string): Promise<void>
  /** The content of a file of this task, or of an upload named in the payload. @throws Error when there is none */
  readArtifact(name: string, options?: { upload?: string }): Promise<Readable>
  /**
   * Creates a task whose parent is this one. The same call in a later attempt makes no second one: calls are known by type and
   * order, or by `key`.
   * @throws TypeError when the type is unknown, or payload or options do not fit
   */
  create(type: string, payload?: unknown, options?: CreateChildOptions): Promise<TaskId>
  /**
   * Does something outside this database once for the task, however often it is retried or rescued: what `effect` returns
   * is recorded under `key`, and a later attempt is given the record instead of doing it again.
   *
   * One window remains: a crash after the effect and before its record. Pass `idempotencyKey`, which is the same for each
   * attempt, to a provider that takes one, and the effect happens once there, too.
   * @param key names the effect within the task, 1 to 200 characters
   * @param effect its value must be JSON of at most 256 KiB
   * @throws LeaseLostError before the effect when the attempt is no longer current, and after its record
   */
  once<Value>(key: string, effect: (options: { idempotencyKey: string }) => Promise<Value>): Promise<Value>
  /**
   * Commits the handler's own rows and the outcome of the task together: both or neither. What `work` returns is the result
   * of the task. Call it last; what the handler does after it is not part of the task.
   * @param work gets drizzle over the transaction; it must not do anything that a rollback would not undo
   * @throws LeaseLostError when the attempt is no longer current; nothing was committed
   * @throws DatabaseAwayError when PostgreSQL went away; let it pass, and the attempt is put back
   */
  transaction<Value>(work: (transaction: Orm) => Promise<Value>): Promise<Value>
  /**
   * A fencing token for what is written elsewhere: it grows with each attempt, so a receiver that refuses a smaller one than
   * it has seen refuses a run that was paused and came back late.
   * @throws LeaseLostError when the attempt is no longer current
   * @see https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html
   */
  fence(): Promise<number>
}

/** What a task made by a handler may have; as for `POST /api/tasks`. */
export type CreateChildOptions = Omit<CreateTask, 'type' | 'payload'> & {
  /** Names the call within the task, instead of its place among those of the same type. */
  key?: string
}

/** How long a run may take, in milliseconds. Each is off when left out. */
export interface TimeLimits {
  /** Then the signal aborts with `time limit`, and the handler may clean up. */
  readonly softMs?: number
  /** Then the attempt has failed, whatever the handler does. In a process of its own it is killed. */
  readonly hardMs?: number
  /** So long without progress, a log line or `heartbeat()`, and the attempt has failed. */
  readonly heartbeatMs?: number
}

/** In which process the handler runs. */
export type Isolation =
  /** In that of the worker, with all others: for handlers that wait for something most of the time. The default. */
  | 'none'
  /** In one of its own, which can be killed: for those that compute, or load what may crash. */
  | 'process'

export interface Definition<Payload extends TSchema = TSchema, Result extends TSchema = TSchema, Progress extends TSchema = TSchema> {
  /** Dotted lower-case words, e.g. `report.generate`. */
  readonly type: string
  /** A few words for people. */
  readonly title: string
  /** A sentence or two: what it does, what it needs. */
  readonly description: string
  /** Schema of the input. Its defaults are filled in at create. */
  readonly payload: Payload
  /**
   * What is wrong with a payload that fits its schema, for rules that a schema cannot say: of two fields together, or of a text. Each
   * entry names a field: its `pointer` begins at the payload, such as `/url`. Asked at create (422) and edit, and again before each
   * attempt, so it must be quick and depend on nothing but the payload. Default: nothing is.
   */
  checkPayload?(payload: Static<Payload>): readonly FieldError[]
  /** Schema of what `run` returns. */
  readonly result: Result
  /** Schema of the data that comes with progress, for watchers that are programs. Default: none. */
  readonly progress?: Progress
  /**
   * Whether only the server itself makes tasks of this type: clients, SQL and other handlers may not, and nobody may edit one. For the
   * built-in types; those of a project cannot have it. Default false.
   */
  readonly isInternal?: boolean
  /** Which workers take it: see WORKER_QUEUES. Default `default`. */
  readonly queue?: string
  /** 0 (default) to 9, which is taken first; a task may say otherwise. */
  readonly priority?: number
  /** After so many failed attempts the task is FAILED. Default 3. */
  readonly attempts?: number
  /** Default: exponential from 1 s to an hour, with jitter. */
  readonly backoff?: Backoff
  /** Whether it is worth trying again after this error. Default: always. */
  retryOn?(error: unknown): boolean
  readonly timeLimits?: TimeLimits
  /**
   * How long, in milliseconds, the handler may put its task back (`PutBack`) without an attempt that fails in between. Then the task is FAILED
   * (`put_back`). Default 7 days.
   */
  readonly putBackLimitMs?: number
  /** At most so many runs at the same time in one worker. Default with `isolation: 'process'`: the number of processors. */
  readonly concurrency?: number
  /** Names what a task is about: while one with the same key has not ended, creating another answers with that one. */
  uniqueBy?(payload: Static<Payload>): string
  readonly isolation?: Isolation
  /** With `isolation: 'process'`: the memory of the process, in MB, after which it is ended. */
  readonly memoryLimitMb?: number
  /**
   * Does the work. A thrown error fails the attempt with its message; `RetryLater`, `PermanentFailure` and `CancelTask` say
   * what follows.
   */
  run(payload: Static<Payload>, context: TaskContext<Static<Progress>>): Promise<Static<Result>>
}

/**
 * Declares a type of task.
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
export function defineTask<const Type extends string, Payload extends TSchema, Result extends TSchema, Progress extends TSchema = TNever>(
  definition: TypedDefinition<Type, Payload, Result, Progress>,
): TypedDefinition<Type, Payload, Result, Progress> {
  return definition
}

/** A definition whose type the compiler knows by name. */
export interface TypedDefinition<Type extends string, Payload extends TSchema, Result extends TSchema, Progress extends TSchema>
  extends Definition<Payload, Result, Progress> {
  readonly type: Type
}

/** What each of these types takes, gives and says with its progress, for `createClient`. Fields with a default may be left out, as at create. */
export type TaskTypesOf<Definitions extends readonly { readonly type: string; readonly payload: TSchema; readonly result: TSchema; readonly progress?: TSchema }[]> = {
  [Each in Definitions[number] as Each['type']]: { payload: Static<Each['payload']>; result: Static<Each['result']>; progress: Static<NonNullable<Each['progress']>> }
}
