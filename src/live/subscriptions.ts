/**
 * Many tasks over one connection: subscriptions, each a selection of tasks, over the streams of the hub.
 *
 * It promises of each followed task what a stream promises: every transition once, in order. A task that several
 * subscriptions select has one stream.
 *
 * - By ids: the tasks are followed until they end.
 * - A batch is its ids: it is complete from the start.
 * - By what fits: those that fit and have not ended, newest first, at most `MAX_FIRST_TASKS`; and from then on each that
 *   comes to fit (see `fit-room.ts`), with a snapshot. One that stops fitting is let go after the
 *   transition that says so. For a final status the newest that stand there are told too.
 * - A list, whose rows are told and not the tasks: see `list-subscriptions.ts`.
 *
 * The order of a subscription by what fits: hear of what comes to fit → list what fits → answer → follow. What is heard before the answer
 * waits for it. A task is followed again only at a later version than was told of it: notices and listings may come late. More tasks
 * than a connection follows wait until others have ended.
 *
 * A stream that ends leaves the connection open. One that is closed because this process cannot go on (restart, slow
 * client) closes the connection with the same code, and the client comes back with `since`.
 */
import { MAX_BATCH_TASKS } from '../protocol/http.js'
import type { TaskFilter } from '../protocol/filter.js'
import { isFinal, type Status } from '../protocol/status.js'
import { CLOSE_CODES, type StreamMessage } from '../protocol/stream.js'
import type { SocketAnswer, RefusedAnswer, Selection, SubscribeRequest } from '../protocol/subscription.js'
import type { TaskId } from '../protocol/task.js'
import type { Hub, Sink, TaskStream } from './hub.js'
import type { ListQuery } from './list-query.js'
import type { ListSink } from './list-stream.js'
import { ListSubscriptions } from './list-subscriptions.js'
import { ListsFullError, type Lists } from './lists.js'

export const MAX_SUBSCRIPTIONS = 50
export const MAX_FOLLOWED_TASKS = 5_000
export const MAX_FIRST_TASKS = 200
/** Tasks that were told of, with the version, and that wait to be followed. Of more, the oldest are forgotten. */
const MAX_REMEMBERED = 20_000

export interface SubscriptionsDeps {
  hub: Pick<Hub, 'find' | 'attach'>
  lists: Pick<Lists, 'open' | 'find' | 'watchFits'>
  sink: Sink & ListSink
  /** Takes the answers to what was asked. */
  answer(message: SocketAnswer): void
  /** Nothing is followed any more, and nothing will come to be: all selected tasks have ended. */
  onIdle?: (() => void) | undefined
}

export interface Subscriptions {
  subscribe(request: SubscribeRequest): Promise<void>
  subscribeToList(id: string, query: ListQuery): Promise<void>
  unsubscribe(id: string): void
  drained(): void
  /** The connection is gone. */
  stop(): void
}

interface Subscription {
  readonly id: string
  /** Undefined: which tasks it selects is known from the start. */
  readonly filter: TaskFilter | undefined
  /** What came to fit before the answer, and what waits for others to end; by id the version. */
  readonly waiting: Map<TaskId, number>
  isAnswered: boolean
  watch?: { stop(): void }
}

interface Followed {
  stream: TaskStream | undefined
  readonly subscriptions: Set<Subscription>
}

export function createSubscriptions({ hub, lists, sink, answer, onIdle }: SubscriptionsDeps): Subscriptions {
  const subscriptions = new Map<string, Subscription>()
  const followed = new Map<TaskId, Followed>()
  /** The last version told of each task, as far as that is remembered. */
  const told = new Map<TaskId, number>()
  const listed = new ListSubscriptions({ lists, sink, answer, onClosed: closeAll })
  let isOver = false
  let isFollowing = false

  const refuse = (id: string, code: RefusedAnswer['code'], detail: string) => answer({ type: 'refused', id, code, detail })

  async function subscribe({ id, selection, since = {} }: SubscribeRequest): Promise<void> {
    if (isRefused(id)) return
    const subscription: Subscription = { id, filter: toFilter(selection), waiting: new Map(), isAnswered: false }
    subscriptions.set(id, subscription)
    try {
      const { ids, missing } = await findFirst(subscription, selection)
      if (isOver || subscriptions.get(id) !== subscription) return
      if (followed.size + ids.length > MAX_FOLLOWED_TASKS) {
        forget(subscription)
        return refuse(id, 'too_many_tasks', `A socket follows ${MAX_FOLLOWED_TASKS} tasks; this would be ${followed.size + ids.length}.`)
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
      if (error instanceof ListsFullError) refuse(id, 'overloaded', 'The server watches as many filters as it can. Try again later.')
      else refuse(id, 'unavailable', 'The tasks could not be read. Try again.')
    }
  }

  function isRefused(id: string): boolean {
    const isTaken = subscriptions.has(id) || listed.has(id)
    if (isTaken) refuse(id, 'duplicate_id', `There is a subscription ${id} already.`)
    else if (subscriptions.size + listed.size < MAX_SUBSCRIPTIONS) return false
    else refuse(id, 'too_many_subscriptions', `A socket holds ${MAX_SUBSCRIPTIONS} subscriptions.`)
    return true
  }

  function forget(subscription: Subscription): void {
    subscriptions.delete(subscription.id)
    subscription.watch?.stop()
  }

  async function findFirst(subscription: Subscription, selection: Selection): Promise<{ ids: TaskId[]; missing?: TaskId[] }> {
    if ('ids' in selection) return findTasks(selection.ids)
    if (subscription.filter !== undefined) return firstTasks(subscription, selection)
    return { ids: (await lists.find(selection, MAX_BATCH_TASKS)).map(({ id }) => id) }
  }

  async function findTasks(given: readonly TaskId[]): Promise<{ ids: TaskId[]; missing: TaskId[] }> {
    const wanted = [...new Set(given.map((id) => id.toLowerCase()))]
    const isFound = await Promise.all(wanted.map((id) => hub.find(id)))
    return { ids: wanted.filter((_, index) => isFound[index]), missing: wanted.filter((_, index) => !isFound[index]) }
  }

  async function firstTasks(subscription: Subscription, filter: TaskFilter): Promise<{ ids: TaskId[]; missing?: never }> {
    const watch = await lists.watchFits(filter, (id, version) => comeToFit(subscription, id, version))
    subscription.watch = watch
    // It was given up meanwhile.
    if (isOver || subscriptions.get(subscription.id) !== subscription) watch.stop()
    const tasks = await lists.find(filter, MAX_FIRST_TASKS)
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
    if (subscription.waiting.size > MAX_REMEMBERED) return closeAll(CLOSE_CODES.overload, 'more tasks fit than one connection can be told of')
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
    const stream = hub.attach(id, { since }, {
      send(json, message) {
        sink.send(json, message)
        if (message) letGo(id, entry, message)
      },
      bufferedBytes: () => sink.bufferedBytes(),
      close: (code, reason) => onClosed(id, entry, code, reason),
    })
    entry.stream = stream
    // It may be over already: the task has ended, or does not fit any more.
    if (followed.get(id) !== entry) stream.stop()
  }

  /** The message may be the last that these subscriptions want of the task. */
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

  /** In the place of one that is followed no more. */
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

/** What other tasks can come to fit; undefined for ids, and for a whole batch. */
function toFilter(selection: Selection): TaskFilter | undefined {
  if ('ids' in selection) return undefined
  const { batch, ...others } = selection
  return batch !== undefined && Object.keys(others).length === 0 ? undefined : selection
}
