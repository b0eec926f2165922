/** Types of `task-stream.js`. Shapes come from the schemas of the protocol; nothing is declared twice. */
import type { Problem } from '../src/protocol/errors.js'
import type { CreateTask } from '../src/protocol/http.js'
import type { Selection } from '../src/protocol/subscription.js'
import type { ListCounts, ListRequest, ListStreamMessage } from '../src/protocol/list.js'
import type { StreamMessage } from '../src/protocol/stream.js'
import type { Progress, Task, TaskId, TaskSummary } from '../src/protocol/task.js'
import type { WaitingFor } from '../src/protocol/waiting.js'

export { isFinal, shouldReconnect } from './protocol.js'

/** `applied`: the task is up to date with the message. `stale`: already known. `gap`: an earlier message is missing. */
export type FoldOutcome = 'applied' | 'stale' | 'gap'

/**
 * The one rule by which a watcher turns messages into the task it shows. Never mutates its arguments; it returns the
 * same object unless the message changed the task.
 *
 * - `snapshot` replaces the task if none is held, if it is not older than the held one, or with `reset`; otherwise it
 *   is stale.
 * - `resumed` changes nothing and is applied.
 * - `transition`: a version at or below the held one is stale, the next is applied, a later one (or any if none is
 *   held) is a gap. One with `edited` changes the fields in `changes`, and not the status.
 * - `progress`: from an older version, another attempt or an older time it is stale; from a later version (or if none
 *   is held) it is a gap.
 */
export function fold(task: Task, message: StreamMessage): { task: Task; outcome: FoldOutcome }
export function fold(task: Task | undefined, message: StreamMessage): { task: Task | undefined; outcome: FoldOutcome }

/** A message that changed the task or what it waits for, or a line of its log, with the task after it. */
export interface Change {
  task: Task
  message: StreamMessage
}

/**
 * The state of the watch's connection. `text` is for people.
 *
 * `connecting` before the first message; `live`; `reconnecting` after a lost connection, and `away` if the server does
 * not answer at all (both retry at `retryAt`, in milliseconds since 1970). Final states: `finished` (the task has
 * ended), `stopped` (a retry would not help: no such task, not allowed …), `closed` (by `close()`).
 *
 * `live` means that data arrived within `silenceMs`. In every state `heardAt` (milliseconds since 1970) is the time of
 * the last data, and so the age of what is shown; it is missing before the first data.
 */
export interface Connection {
  state: 'connecting' | 'live' | 'reconnecting' | 'away' | 'finished' | 'stopped' | 'closed'
  text: string
  retryAt?: number
  heardAt?: number
}

export interface RequestOptions {
  /** The address of the server, e.g. `http://localhost:3000`. In a browser it defaults to the address of the page. */
  baseUrl?: string | undefined
  /** Replaces the global `fetch`. */
  fetch?: typeof globalThis.fetch | undefined
  /** Aborts the request or the watch. */
  signal?: AbortSignal | undefined
}

/** The part of the WebSocket interface that is used. The browser's, Node's (from 22) and that of `ws` all match. */
export interface WebSocketLike {
  readonly readyState: number
  onopen: ((event: never) => void) | null
  onmessage: ((event: never) => void) | null
  onclose: ((event: never) => void) | null
  onerror: ((event: never) => void) | null
  send(data: string): void
  close(): void
}

export interface WatchOptions extends RequestOptions {
  /**
   * Replaces the global `WebSocket`, which Node has only from version 22; without one the watch uses server-sent
   * events.
   */
  WebSocket?: (new (url: string) => WebSocketLike) | undefined
  /**
   * The transports, in the order in which they are tried: the next one is used if two attempts deliver nothing although
   * the server answers. Default: all three; without a WebSocket in this environment, the other two.
   */
  transports?: readonly ('websocket' | 'events' | 'poll')[] | undefined
  /**
   * Whether to report the handler's log lines too, as messages of the type `log`. Long polling does not carry them.
   * Default false.
   */
  logs?: boolean | undefined
  /** A task already held: the watch resumes from its version instead of requesting a snapshot. */
  task?: Task | undefined
  /** Called for each change, in order; each version exactly once. */
  onChange?: ((change: Change) => void) | undefined
  /** Called when the state of the connection changes. */
  onConnection?: ((connection: Connection) => void) | undefined
  /**
   * The delay before the first reconnect is random between 0 and this, in milliseconds; it doubles each time. Default
   * 250.
   */
  minDelayMs?: number | undefined
  /** The longest delay before a reconnect, in milliseconds. Default 10,000. */
  maxDelayMs?: number | undefined
  /** How long a new connection may take to deliver its first message, in milliseconds. Default 10,000. */
  connectMs?: number | undefined
  /**
   * After this much silence the connection counts as dead and is replaced, in milliseconds. Default 30,000: twice the
   * longest silence of a server (its `STREAM_HEARTBEAT_SECONDS`). Measured by a monotonic clock; time that the machine
   * slept does not count.
   */
  silenceMs?: number | undefined
}

/** Iterates over the changes from now on: every transition, but only the latest hints if the reader is slow. */
export interface TaskWatch extends AsyncIterable<Change> {
  /** The current state of the task; undefined before the first message. */
  readonly task: Task | undefined
  /**
   * Why the task does not run; null when it does, when it has ended, or as long as the server has not said so. Changes
   * are reported with messages of the type `waiting`; with long polling, only when it reads the task again.
   */
  readonly waitingFor: WaitingFor | null
  readonly connection: Connection
  /** Resolves with the task at its end. Rejects with a `WatchError` if the watch stops before that. */
  readonly finished: Promise<Task>
  /** Ends the delay in the state `away`, for a caller that knows the server is back. Otherwise does nothing. */
  retryNow(): void
  /** Ends the watch. Idempotent. */
  close(): void
  [Symbol.asyncIterator](): AsyncGenerator<Change, void, undefined>
}

/** Follows one task until it ends, through any number of connections. */
export function watchTask(id: TaskId, options?: WatchOptions): TaskWatch

export interface WatchTasksOptions extends Omit<WatchOptions, 'task' | 'transports' | 'logs'> {}

/** Iterates over the changes of all tasks from now on; the changes of each task in order, each version once. */
export interface TasksWatch extends AsyncIterable<Change> {
  /** By id: the current state of each task received. */
  readonly tasks: ReadonlyMap<TaskId, Task>
  readonly connection: Connection
  /** Ends the watch. Idempotent. */
  close(): void
  [Symbol.asyncIterator](): AsyncGenerator<Change, void, undefined>
}

/**
 * Follows a selection of tasks over one WebSocket until it is closed: tasks by id, or all that match, including those
 * that match later. Iterating throws a `WatchError` if the server refuses the selection.
 */
export function watchTasks(selection: Selection, options?: WatchTasksOptions): TasksWatch

/**
 * The current state of a list. A new object, with new `items`, for each change; rows that did not change are the same
 * objects.
 */
export interface ListView {
  /** The rows of the window, newest first: tasks without payload and result. */
  items: readonly TaskSummary[]
  /**
   * Where the tasks after the window begin, for `before` and for `cursor` of `GET /api/tasks`; null if there are none.
   */
  nextCursor: string | null
  /** Matching tasks ahead of the window, counted up to 200. Always 0 for a window that begins at the newest task. */
  newer: number
  /** How many tasks match the filter apart from its status, by status; null until they have been counted. */
  counts: ListCounts | null
}

/** A message that changed the list, and the list after it. */
export interface ListChange {
  view: ListView
  message: ListStreamMessage
}

export interface ListWatchOptions {
  /** Ends the watch. */
  signal?: AbortSignal | undefined
  /** Called for each change, in order. */
  onChange?: ((change: ListChange) => void) | undefined
  /** Called when the state of the connection changes. */
  onConnection?: ((connection: Connection) => void) | undefined
}

/** Iterates over the changes from now on; a reader that is slower than the list receives the latest state. */
export interface ListWatch extends AsyncIterable<ListChange> {
  /**
   * The current state of the list; undefined before the first message, and after `change` until the first message of
   * the new list.
   */
  readonly view: ListView | undefined
  readonly connection: Connection
  /** Switches to another list, or another window of it, over the same connection. */
  change(list: ListRequest): void
  /** Ends the watch. Idempotent. */
  close(): void
  [Symbol.asyncIterator](): AsyncGenerator<ListChange, void, undefined>
}

export interface LiveOptions extends RequestOptions {
  /** As for `watchTask`. */
  WebSocket?: WatchOptions['WebSocket']
  /**
   * The transports, in the order in which they are tried. Default: both; without a WebSocket in this environment,
   * server-sent events.
   */
  transports?: readonly ('websocket' | 'events')[] | undefined
  /** Called when the state of the connection changes. */
  onConnection?: ((connection: Connection) => void) | undefined
  /** As for `watchTask`. Default 250. */
  minDelayMs?: number | undefined
  /** As for `watchTask`. Default 10,000. */
  maxDelayMs?: number | undefined
}

/**
 * One connection for everything that a page watches: lists and single tasks, which can be added and removed. It opens
 * with the first watch, and closes a moment after the last one has ended.
 */
export interface Live {
  readonly connection: Connection
  /** Follows a list until the watch is closed. Iterating it throws a `WatchError` if the server refuses the list. */
  watchList(list?: ListRequest, options?: ListWatchOptions): ListWatch
  /** Follows one task until it ends, with the guarantees of the function `watchTask`. Without log lines. */
  watchTask(id: TaskId, options?: Pick<WatchOptions, 'task' | 'signal' | 'onChange' | 'onConnection'>): TaskWatch
  /** Ends the delay in the state `away`, for a caller that knows the server is back. Otherwise does nothing. */
  retryNow(): void
  /** Ends all watches. Idempotent. */
  close(): void
}

export function openLive(options?: LiveOptions): Live

/** Follows one list over its own connection, until it is closed. */
export function watchList(list?: ListRequest, options?: LiveOptions & ListWatchOptions): ListWatch

export interface CreateOptions extends RequestOptions {
  /** After this many milliseconds without an answer the request is given up. Default 30,000. */
  timeoutMs?: number | undefined
  /**
   * With a key, the same request can be repeated after a `ConnectionError`, and creates only one task. 1 to 255
   * characters, without `"`.
   */
  idempotencyKey?: string | undefined
}

/**
 * Creates a task and returns it as accepted. Throws `ProblemError` if the server, or a proxy in front of it, refuses
 * it, and `ConnectionError` if no answer arrived; it is then unknown whether the task was created. Throws the reason of
 * `signal` if that aborts.
 */
export function createTask(body: CreateTask, options?: CreateOptions): Promise<Task>

/**
 * Creates a task and waits for its end, whatever the outcome: check `status`. Throws like `createTask` and `finished`.
 */
export function runTask(body: CreateTask, options?: WatchOptions): Promise<Task>

/** The payload, result and progress data of each task type, derived from definitions by `TaskTypesOf`. */
export type TaskTypes = Record<string, { payload: unknown; result: unknown; progress?: unknown }>

export interface RunOptions<Data> {
  /** Called for each report of progress. */
  onProgress?: (progress: Omit<Progress, 'data'> & { data?: Data }) => void
}

/** Names that the compiler does not know are left to the server. */
export interface Client<Types extends TaskTypes> {
  /** Throws like `createTask`. */
  create<Type extends keyof Types & string>(
    type: Type,
    payload: Types[Type]['payload'],
    more?: Omit<CreateTask, 'type' | 'payload'>,
  ): Promise<Task>
  /** Creates a task and waits for its result. Throws like `runTask`, and `TaskEndedError` if it is not COMPLETED. */
  run<Type extends keyof Types & string>(
    type: Type,
    payload: Types[Type]['payload'],
    more?: Omit<CreateTask, 'type' | 'payload'>,
    options?: RunOptions<Types[Type]['progress']>,
  ): Promise<Types[Type]['result']>
}

/**
 * A client that knows the types of task at compile time.
 * @example
 * import type { BuiltInTypes, TaskTypesOf } from 'taskwire'
 * import type { welcome } from './my-tasks/welcome.js'
 *
 * const client = createClient<BuiltInTypes & TaskTypesOf<[typeof welcome]>>({ baseUrl })
 * const { listId } = await client.run('user.welcome', { userId: 'u1' })
 */
export function createClient<Types extends TaskTypes>(options?: WatchOptions): Client<Types>

/** The task has ended, but not as COMPLETED. */
export class TaskEndedError extends Error {
  readonly task: Task
  constructor(task: Task)
}

/** The watch stopped before the task ended; `code` is the close code that says why, or 1000 after `close()`. */
export class WatchError extends Error {
  readonly code: number
  constructor(code: number, message: string)
}

/**
 * The server, or a proxy in front of it, refused a request. `problem` is its answer (RFC 9457); if the answer did not
 * come from Taskwire, it is derived from the status and has the code `unexpected`.
 */
export class ProblemError extends Error {
  readonly problem: Problem
  constructor(problem: Problem, options?: ErrorOptions)
}

/**
 * No answer arrived; the message says why, and `cause` is the error from `fetch`. It is unknown whether the server
 * received the request.
 */
export class ConnectionError extends Error {
  /** `incomplete`: the connection broke in the middle of the answer. */
  readonly code: 'offline' | 'unreachable' | 'timeout' | 'incomplete'
  constructor(code: ConnectionError['code'], message: string, options?: ErrorOptions)
}
