/**
 * Many tasks over one connection: subscriptions, each a selection of tasks, over the streams of the hub.
 *
 * Each followed task has the guarantee of a stream: every transition once, in order. A task that several subscriptions
 * select has a single stream.
 *
 * - By ids: the tasks are followed until they end.
 * - A batch is treated as its ids: it is complete from the start.
 * - By a filter: the matching tasks that have not ended, newest first, at most `MAX_FIRST_TASKS`; and from then on each
 *   task that starts to match (see `fit-room.ts`), with a snapshot. A task that stops matching is dropped after the
 *   transition that says so. For a final status, the newest tasks in that status are sent too.
 * - A list, whose rows are sent instead of its tasks: see `list-subscriptions.ts`.
 *
 * The order of a subscription by filter: listen for new matches → list the matching tasks → answer → follow. Matches
 * found before the answer wait for it. A task is followed again only at a version later than the last one sent: notices
 * and listings may be late. Tasks beyond the limit of a connection wait until others have ended.
 *
 * The connection stays open when a stream ends. If a stream is closed because this process cannot continue it (restart,
 * slow client), the connection is closed with the same code, and the client reconnects with `since`.
 */
import type { Principal } from '../access/principal.js'
import type { TaskFilter } from '../protocol/filter.js'
import { MAX_BATCH_TASKS } from '../protocol/http.js'
import { isFinal, type Status } from '../protocol/status.js'
import { CLOSE_CODES, type StreamMessage } from '../protocol/stream.js'
import type { SocketAnswer, RefusedAnswer, Selection, SubscribeRequest } from '../protocol/subscription.js'
import type { TaskId } from '../protocol/task.js'
import type { Hub, Sink, TaskStream } from './hub.js'
import type { ListQuery } from './list-query.js'
import type { ListSink } from './list-stream.js'
import { ListSubscriptions } from './list-subscriptions.js'
import { ListsFullError, type Lists } from './lists.js'

const MAX_SUBSCRIPTIONS = 50
const MAX_FOLLOWED_TASKS = 5_000
const MAX_FIRST_TASKS = 200
/**
 * The maximum number of tasks that were sent, with their version, and that wait to be followed. Above it the oldest are
 * forgotten.
 */
const MAX_REMEMBERED = 20_000

export interface SubscriptionsDeps {
  /** The principal of the connection, which sees the tasks of that tenant. */
  principal: Principal
  hub: Pick<Hub, 'find' | 'attach'>
  lists: Pick<Lists, 'open' | 'find' | 'watchFits'>
  sink: Sink & ListSink
  /** Receives the answers to requests. */
  answer(message: SocketAnswer): void
  /** Nothing is followed any more, and nothing will be: all selected tasks have ended. */
  onIdle?: (() => void) | undefined
}

export interface Subscriptions {
  subscribe(request: SubscribeRequest): Promise<void>
  subscribeToList(id: string, query: ListQuery): Promise<void>
  unsubscribe(id: string): void
  drained(): void
  /** The connection is closed. */
  stop(): void
}

interface Subscription {
  readonly id: string
  /** Undefined: the selected tasks are known from the start. */
  readonly filter: TaskFilter | undefined
  /** Tasks that matched before the answer, or wait for others to end; the version by id. */
  readonly waiting: Map<TaskId, number>
  isAnswered: boolean
  watch?: { stop(): void }
}

interface Followed {
  stream: TaskStream | undefined
  readonly subscriptions: Set<Subscription>
}

export function createSubscriptions({ principal, hub, lists, sink, answer, onIdle }: SubscriptionsDeps): Subscriptions {
  const subscriptions = new Map<string, Subscription>()
  const followed = new Map<TaskId, Followed>()
  /** The last version sent for each task, as far as it is remembered. */
  const told = new Map<TaskId, number>()
  const listed = new ListSubscriptions({ principal, lists, sink, answer, onClosed: closeAll })
  let isOver = false
  let isFollowing = false

  const refuse = (id: string, code: RefusedAnswer['code'], detail: string) =>
    answer({ type: 'refused', id, code, detail })

  async function subscribe({ id, selection, since = {} }: SubscribeRequest): Promise<void> {
    if (isRefused(id)) return
    const subscription: Subscription = { id, filter: toFilter(selection), waiting: new Map(), isAnswered: false }
    subscriptions.set(id, subscription)
    try {
      const { ids, missing } = await findFirst(subscription, selection)
      if (isOver || subscriptions.get(id) !== subscription) return
      if (followed.size + ids.length > MAX_FOLLOWED_TASKS) {
        forget(subscription)
        return refuse(
          id,
          'too_many_tasks',
          `A socket can follow at most ${MAX_FOLLOWED_TASKS} tasks; this request would make it ${followed.size + ids.length}.`,
        )
      }
      answer({ type: 'subscribed', id, tasks: ids.length, ...(missing && { missing }) })
      isFollowing = true
      for (const taskId of ids) follow(taskId, subscription, since[taskId])
      isFollowing = false
      subscription.isAnswered = true
      followWaiting(subscription)
      restIfIdle()
    } catch (error) {
      if (isOver || subscriptions.get(id) !== subscription) return
      forget(subscription)
      if (error instanceof ListsFullError)
        refuse(id, 'overloaded', 'The server has reached its limit of watched filters. Try again later.')
      else refuse(id, 'unavailable', 'The tasks could not be read. Try again.')
    }
  }

  function isRefused(id: string): boolean {
    const isTaken = subscriptions.has(id) || listed.has(id)
    if (isTaken) refuse(id, 'duplicate_id', `The subscription ${id} already exists.`)
    else if (subscriptions.size + listed.size < MAX_SUBSCRIPTIONS) return false
    else refuse(id, 'too_many_subscriptions', `A socket can have at most ${MAX_SUBSCRIPTIONS} subscriptions.`)
    return true
  }

  function forget(subscription: Subscription): void {
    subscriptions.delete(subscription.id)
    subscription.watch?.stop()
  }

  async function findFirst(
    subscription: Subscription,
    selection: Selection,
  ): Promise<{ ids: TaskId[]; missing?: TaskId[] }> {
    if ('ids' in selection) return findTasks(selection.ids)
    if (subscription.filter !== undefined) return firstTasks(subscription, selection)
    return { ids: (await lists.find(principal, selection, MAX_BATCH_TASKS)).map(({ id }) => id) }
  }

  async function findTasks(given: readonly TaskId[]): Promise<{ ids: TaskId[]; missing: TaskId[] }> {
    const wanted = [...new Set(given.map((id) => id.toLowerCase()))]
    const isFound = await Promise.all(wanted.map((id) => hub.find(principal, id)))
    return { ids: wanted.filter((_, index) => isFound[index]), missing: wanted.filter((_, index) => !isFound[index]) }
  }

  async function firstTasks(
    subscription: Subscription,
    filter: TaskFilter,
  ): Promise<{ ids: TaskId[]; missing?: never }> {
    const watch = await lists.watchFits(principal, filter, (id, version) => comeToFit(subscription, id, version))
    subscription.watch = watch
    // The subscription ended meanwhile.
    if (isOver || subscriptions.get(subscription.id) !== subscription) watch.stop()
    const tasks = await lists.find(principal, filter, MAX_FIRST_TASKS)
    const isWanted = ({ status }: { status: Status }) => filter.status !== undefined || !isFinal(status)
    for (const task of tasks) if (!isWanted(task)) remember(task.id, task.version)
    return { ids: tasks.filter(isWanted).map(({ id }) => id) }
  }

  function comeToFit(subscription: Subscription, id: TaskId, version: number): void {
    if (isOver) return
    const known = followed.get(id)
    if (known !== undefined) return void known.subscriptions.add(subscription)
    if (version <= (told.get(id) ?? 0)) return
    subscription.waiting.set(id, version)
    if (subscription.waiting.size > MAX_REMEMBERED)
      return closeAll(CLOSE_CODES.overload, 'more tasks match than one connection can follow')
    followWaiting(subscription)
  }

  function followWaiting(subscription: Subscription): void {
    if (!subscription.isAnswered) return
    for (const [id, version] of subscription.waiting) {
      if (!followed.has(id) && followed.size >= MAX_FOLLOWED_TASKS) return
      subscription.waiting.delete(id)
      if (version > (told.get(id) ?? 0)) follow(id, subscription, undefined)
    }
  }

  function remember(id: TaskId, version: number): void {
    told.delete(id)
    told.set(id, version)
    if (told.size <= MAX_REMEMBERED) return
    for (const oldest of told.keys()) {
      told.delete(oldest)
      break
    }
  }

  function restIfIdle(): void {
    if (isFollowing || followed.size > 0 || listed.size > 0 || isOver) return
    if (subscriptions.size > 0 && [...subscriptions.values()].every(({ filter }) => filter === undefined)) onIdle?.()
  }

  function follow(id: TaskId, subscription: Subscription, since: number | undefined): void {
    const known = followed.get(id)
    if (known) {
      known.subscriptions.add(subscription)
      return
    }
    const entry: Followed = { stream: undefined, subscriptions: new Set([subscription]) }
    followed.set(id, entry)
    const stream = hub.attach(
      principal,
      id,
      { since },
      {
        send(json, message) {
          sink.send(json, message)
          if (message) letGo(id, entry, message)
        },
        bufferedBytes: () => sink.bufferedBytes(),
        close: (code, reason) => onClosed(id, entry, code, reason),
      },
    )
    entry.stream = stream
    // The stream may already be over: the task has ended, or no longer matches.
    if (followed.get(id) !== entry) stream.stop()
  }

  /** The message may be the last about this task for these subscriptions. */
  function letGo(id: TaskId, entry: Followed, { status, version }: StreamMessage): void {
    remember(id, version)
    for (const subscription of entry.subscriptions) {
      const wanted = subscription.filter?.status
      if (wanted !== undefined && wanted !== status) drop(id, entry, subscription)
    }
  }

  function drop(id: TaskId, entry: Followed, subscription: Subscription): void {
    entry.subscriptions.delete(subscription)
    if (entry.subscriptions.size > 0) return
    followed.delete(id)
    entry.stream?.stop()
    followOthers()
  }

  function onClosed(id: TaskId, entry: Followed, code: number, reason: string): void {
    if (followed.get(id) === entry) followed.delete(id)
    if (code !== CLOSE_CODES.ended && code !== CLOSE_CODES.notFound && !isOver) return closeAll(code, reason)
    followOthers()
    restIfIdle()
  }

  /** Takes the place of a task that is no longer followed. */
  function followOthers(): void {
    for (const subscription of subscriptions.values()) if (subscription.waiting.size > 0) followWaiting(subscription)
  }

  function closeAll(code: number, reason: string): void {
    if (isOver) return
    stop()
    sink.close(code, reason)
  }

  function unsubscribe(id: string): void {
    if (listed.unsubscribe(id)) return answer({ type: 'unsubscribed', id })
    const subscription = subscriptions.get(id)
    if (subscription === undefined) return refuse(id, 'unknown_subscription', `There is no subscription ${id}.`)
    forget(subscription)
    for (const [taskId, entry] of followed) if (entry.subscriptions.has(subscription)) drop(taskId, entry, subscription)
    answer({ type: 'unsubscribed', id })
  }

  function stop(): void {
    isOver = true
    for (const { stream } of followed.values()) stream?.stop()
    followed.clear()
    for (const { watch } of subscriptions.values()) watch?.stop()
    subscriptions.clear()
    listed.stop()
  }

  return {
    subscribe,
    async subscribeToList(id, query) {
      if (!isRefused(id)) await listed.subscribe(id, query)
    },
    unsubscribe,
    drained() {
      listed.drained()
      for (const { stream } of followed.values()) stream?.drained()
    },
    stop,
  }
}

/** The filter by which other tasks can start to match; undefined for ids, and for a whole batch. */
function toFilter(selection: Selection): TaskFilter | undefined {
  if ('ids' in selection) return undefined
  const { batch, ...others } = selection
  return batch !== undefined && Object.keys(others).length === 0 ? undefined : selection
}
