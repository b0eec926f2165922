/** Types of `task-stream.js`. Shapes come from the protocol's schemas; nothing is declared twice. */
import type { Problem } from '../src/protocol/errors.js'
import type { CreateTask } from '../src/protocol/http.js'
import type { Selection } from '../src/protocol/subscription.js'
import type { ListCounts, ListRequest, ListStreamMessage } from '../src/protocol/list.js'
import type { StreamMessage } from '../src/protocol/stream.js'
import type { Progress, Task, TaskId, TaskSummary } from '../src/protocol/task.js'

export { isFinal, shouldReconnect } from './protocol.js'

/** `applied`: the task is up to date with the message. `stale`: known already. `gap`: something before it is missing. */
export type FoldOutcome = 'applied' | 'stale' | 'gap'

/**
 * The one rule by which a watcher turns messages into the task it shows. Never mutates its arguments; the task that
 * comes back is the very same object unless the message changed it.
 *
 * - `snapshot` replaces when nothing is held, when it is not older than what is held, or with `reset`; else stale.
 * - `resumed` changes nothing and is applied.
 * - `transition`: version at or below mine is stale, the next is applied, a later one (or none held) is a gap. One with `edited` changes
 *   what `changes` says, and no status.
 * - `progress`: of an older version, another attempt or an older time is stale; of a later version (or none held) a gap.
 */
export function fold(task: Task, message: StreamMessage): { task: Task; outcome: FoldOutcome }
export function fold(task: Task | undefined, message: StreamMessage): { task: Task | undefined; outcome: FoldOutcome }

/** A message that changed the task, or a line of its log; and the task after it. */
export interface Change {
  task: Task
  message: StreamMessage
}

/**
 * How the watch stands with the server. `text` is for people.
 *
 * `connecting` before the first message; `live`; `reconnecting` after a cut, and `away` when the server does not answer
 * at all (both try again at `retryAt`, milliseconds since 1970); and for good: `finished` (the task has ended),
 * `stopped` (no use in trying again: no such task, not allowed …), `closed` (by `close()`).
 *
 * `live` means that the server was heard within `silenceMs`. In any state `heardAt` (milliseconds since 1970) tells how old the last sign of
 * it is, and so what is shown; it is missing before the first.
 */
export interface Connection {
  state: 'connecting' | 'live' | 'reconnecting' | 'away' | 'finished' | 'stopped' | 'closed'
  text: string
  retryAt?: number
  heardAt?: number
}

export interface RequestOptions {
  /** The address of the server, e.g. `http://localhost:3000`. In a browser the page's own when left out. */
  baseUrl?: string | undefined
  /** Stands in for the global `fetch`. */
  fetch?: typeof globalThis.fetch | undefined
  /** Ends the request or the watch. */
  signal?: AbortSignal | undefined
}

/** The part of the WebSocket interface that is used. The browser's, Node's (from 22) and that of `ws` all fit. */
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
  /** Stands in for the global `WebSocket`, which Node has only from version 22; without one the watch uses server-sent events. */
  WebSocket?: (new (url: string) => WebSocketLike) | undefined
  /**
   * The ways to the stream, in the order in which they are tried: the next one when two attempts brought nothing though the
   * server answers. Default all three; without a WebSocket here, the other two.
   */
  transports?: readonly ('websocket' | 'events' | 'poll')[] | undefined
  /** Whether to report also what the handler logs, as messages of the type `log`. Long polls do not carry it. Default false. */
  logs?: boolean | undefined
  /** A task already held: the watch resumes from its version instead of asking for a snapshot. */
  task?: Task | undefined
  /** Called for each change, in order; each version exactly once. */
  onChange?: ((change: Change) => void) | undefined
  /** Called when the standing of the connection changes. */
  onConnection?: ((connection: Connection) => void) | undefined
  /** The first pause before a reconnect is random between 0 and this, doubling each time. Default 250. */
  minDelayMs?: number | undefined
  /** The longest pause before a reconnect. Default 10,000. */
  maxDelayMs?: number | undefined
  /** How long a new connection may take to bring its first message, in milliseconds. Default 10,000. */
  connectMs?: number | undefined
  /**
   * After so long without a word the connection is taken for dead and made anew, in milliseconds. Default 30,000: twice what a server is
   * silent at most (its `STREAM_HEARTBEAT_SECONDS`). Measured by a monotonic clock; time that the machine slept is not held against it.
   */
  silenceMs?: number | undefined
}

/** Iterating reports the changes from then on: every transition, and of progress the latest when the reader is slow. */
export interface TaskWatch extends AsyncIterable<Change> {
  /** The task as it stands; undefined before the first message. */
  readonly task: Task | undefined
  readonly connection: Connection
  /** The task at its end. Rejects with a `WatchError` when the watch stops before that. */
  readonly finished: Promise<Task>
  /** Ends the pause that `away` means, for a caller who knows that the server is back. Otherwise does nothing. */
  retryNow(): void
  /** Ends the watch. Idempotent. */
  close(): void
  [Symbol.asyncIterator](): AsyncGenerator<Change, void, undefined>
}

/** Follows one task until it ends, through any number of connections. */
export function watchTask(id: TaskId, options?: WatchOptions): TaskWatch

export interface WatchTasksOptions extends Omit<WatchOptions, 'task' | 'transports' | 'logs'> {}

/** Iterating reports the changes of all tasks from then on; each task's in order, each version once. */
export interface TasksWatch extends AsyncIterable<Change> {
  /** By id: each task of which something was told, as it stands. */
  readonly tasks: ReadonlyMap<TaskId, Task>
  readonly connection: Connection
  /** Ends the watch. Idempotent. */
  close(): void
  [Symbol.asyncIterator](): AsyncGenerator<Change, void, undefined>
}

/**
 * Follows a selection of tasks over one WebSocket until it is closed: tasks by id, or all that fit, those included that
 * come to fit later. Iterating throws a `WatchError` when the server refuses the selection.
 */
export function watchTasks(selection: Selection, options?: WatchTasksOptions): TasksWatch

/** A list as it stands. A new object, with new `items`, at each change; rows that did not change are the same objects. */
export interface ListView {
  /** The rows of the window, newest first: tasks without payload and result. */
  items: readonly TaskSummary[]
  /** Where the tasks behind the window begin, for `before` and for `cursor` of `GET /api/tasks`; null when there are none. */
  nextCursor: string | null
  /** Tasks that fit and stand before the window, counted to 200. Always 0 for a window that begins at the newest task. */
  newer: number
  /** How many tasks fit the filter, whatever their status, by status; null until they have been counted. */
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
  /** Called when the standing of the connection changes. */
  onConnection?: ((connection: Connection) => void) | undefined
}

/** Iterating reports the changes from then on; a reader that is slower than the list gets the latest. */
export interface ListWatch extends AsyncIterable<ListChange> {
  /** The list as it stands; undefined before the first message, and after `change` until the first of the other list. */
  readonly view: ListView | undefined
  readonly connection: Connection
  /** Watches another list from now on, or another window of it, over the same connection. */
  change(list: ListRequest): void
  /** Ends the watch. Idempotent. */
  close(): void
  [Symbol.asyncIterator](): AsyncGenerator<ListChange, void, undefined>
}

export interface LiveOptions extends RequestOptions {
  /** As for `watchTask`. */
  WebSocket?: WatchOptions['WebSocket']
  /** The ways to the server, in the order in which they are tried. Default both; without a WebSocket here, server-sent events. */
  transports?: readonly ('websocket' | 'events')[] | undefined
  /** Called when the standing of the connection changes. */
  onConnection?: ((connection: Connection) => void) | undefined
  /** As for `watchTask`. Default 250. */
  minDelayMs?: number | undefined
  /** As for `watchTask`. Default 10,000. */
  maxDelayMs?: number | undefined
}

/**
 * One connection for all that a page watches: lists and single tasks, which come and go. It is opened with the first watch, and closed
 * a moment after the last has ended.
 */
export interface Live {
  readonly connection: Connection
  /** Follows a list until the watch is closed. Iterating it throws a `WatchError` when the server refuses the list. */
  watchList(list?: ListRequest, options?: ListWatchOptions): ListWatch
  /** As the function of this name: follows one task until it ends, with the same promises. Without lines of the log. */
  watchTask(id: TaskId, options?: Pick<WatchOptions, 'task' | 'signal' | 'onChange' | 'onConnection'>): TaskWatch
  /** Ends the pause that `away` means, for a caller who knows that the server is back. Otherwise does nothing. */
  retryNow(): void
  /** Ends all watches. Idempotent. */
  close(): void
}

export function openLive(options?: LiveOptions): Live

/** Follows one list over a connection of its own, until it is closed. */
export function watchList(list?: ListRequest, options?: LiveOptions & ListWatchOptions): ListWatch

export interface CreateOptions extends RequestOptions {
  /** After so many milliseconds without an answer the request is given up. Default 30,000. */
  timeoutMs?: number | undefined
  /** With one, the same request may be sent again after a `ConnectionError`, and creates one task. 1 to 255 characters, without `"`. */
  idempotencyKey?: string | undefined
}

/**
 * Creates a task and returns it as accepted. Throws `ProblemError` when the server, or a proxy before it, refuses it, and
 * `ConnectionError` when no answer came: whether the task was created is then not known. Throws the reason of `signal` when that aborts.
 */
export function createTask(body: CreateTask, options?: CreateOptions): Promise<Task>

/** Creates a task and waits for its end, whichever it is: look at `status`. Throws like `createTask` and `finished`. */
export function runTask(body: CreateTask, options?: WatchOptions): Promise<Task>

/** What each type of task takes, gives and says with its progress: made from definitions by `TaskTypesOf`. */
export type TaskTypes = Record<string, { payload: unknown; result: unknown; progress?: unknown }>

export interface RunOptions<Data> {
  /** Called for each report of progress. */
  onProgress?: (progress: Omit<Progress, 'data'> & { data?: Data }) => void
}

/** Whatever the compiler does not know is left to the server. */
export interface Client<Types extends TaskTypes> {
  /** Throws like `createTask`. */
  create<Type extends keyof Types & string>(type: Type, payload: Types[Type]['payload'], more?: Omit<CreateTask, 'type' | 'payload'>): Promise<Task>
  /** Creates a task and waits for its result. Throws like `runTask`, and `TaskEndedError` when it has not COMPLETED. */
  run<Type extends keyof Types & string>(type: Type, payload: Types[Type]['payload'], more?: Omit<CreateTask, 'type' | 'payload'>, options?: RunOptions<Types[Type]['progress']>): Promise<Types[Type]['result']>
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

/** The task has ended otherwise than as COMPLETED. */
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
 * The server, or a proxy before it, refused a request. `problem` is its answer (RFC 9457), or one made up from the status with the code
 * `unexpected`, when what came was no answer of Taskwire.
 */
export class ProblemError extends Error {
  readonly problem: Problem
  constructor(problem: Problem, options?: ErrorOptions)
}

/** No answer came; the message says why, in words, and `cause` is what `fetch` threw. Whether the server got the request is not known. */
export class ConnectionError extends Error {
  /** `incomplete`: the connection broke within the answer. */
  readonly code: 'offline' | 'unreachable' | 'timeout' | 'incomplete'
  constructor(code: ConnectionError['code'], message: string, options?: ErrorOptions)
}
