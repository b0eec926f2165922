/**
 * Many tasks over one connection: subscriptions, each a selection of tasks, over the streams of the hub.
 *
 * It promises of each followed task what a stream promises: every transition once, in order. A task that several
 * subscriptions select has one stream.
 *
 * - By ids: the tasks are followed until they end.
 * - A batch is its ids: it is complete from the start.
 * - By what fits: those that fit and have not ended, newest first, at most `MAX_FIRST_TASKS`; and from then on each that
 *   comes to fit, found by a look every second (`look`), with a snapshot. One that stops fitting is let go after the
 *   transition that says so. For a final status the newest that stand there are told too.
 *
 * The order of a subscription: list what fits → answer → follow. What changes meanwhile is in the snapshot or comes after
 * it; what comes to fit meanwhile is found by the next look, which compares with the list before.
 *
 * A stream that ends leaves the connection open. One that is closed because this process cannot go on (restart, slow
 * client) closes the connection with the same code, and the client comes back with `since`.
 */
import type { FeedAnswer, RefusedAnswer, Selection, SubscribeRequest } from '../protocol/feed.js'
import { MAX_BATCH_TASKS } from '../protocol/http.js'
import { isFinal, type Status } from '../protocol/status.js'
import { CLOSE_CODES, type StreamMessage } from '../protocol/stream.js'
import type { Task, TaskId } from '../protocol/task.js'
import type { Hub, Sink, TaskStream } from './hub.js'

export const MAX_SUBSCRIPTIONS = 50
export const MAX_FOLLOWED_TASKS = 5_000
export const MAX_FIRST_TASKS = 200
const PAGE_SIZE = 200
/** How far back a look goes at most; more than that within a second is cut off. */
const MAX_PAGES = 10

export type Filter = Exclude<Selection, { ids: unknown }>

export interface ListOptions {
  limit: number
  /** Only tasks older than this one. */
  beforeId?: TaskId | undefined
  /** Asked each second: it must cost little, and may leave out what lies far back. */
  isLook?: boolean
}

export interface FeedDeps {
  hub: Pick<Hub, 'find' | 'attach'>
  /** The tasks that fit, newest first. */
  listTasks(filter: Filter, options: ListOptions): Promise<readonly Pick<Task, 'id' | 'status'>[]>
  sink: Sink
  /** Takes the answers to what was asked. */
  answer(message: FeedAnswer): void
  /** Nothing is followed any more, and nothing will come to be: all selected tasks have ended. */
  onIdle?: (() => void) | undefined
}

export interface Feed {
  subscribe(request: SubscribeRequest): Promise<void>
  unsubscribe(id: string): void
  /** Finds what has come to fit. Rejects when the list cannot be read; the next look finds the same. */
  look(): Promise<void>
  drained(): void
  /** The connection is gone. */
  stop(): void
}

interface Subscription {
  readonly id: string
  readonly filter: Filter | undefined
  /** Of a filter: what the last look has seen. */
  seen: Set<TaskId>
}

interface Followed {
  stream: TaskStream | undefined
  readonly subscriptions: Set<Subscription>
}

export function createFeed({ hub, listTasks, sink, answer, onIdle }: FeedDeps): Feed {
  const subscriptions = new Map<string, Subscription>()
  const followed = new Map<TaskId, Followed>()
  let isOver = false
  let isFollowing = false

  const refuse = (id: string, code: RefusedAnswer['code'], detail: string) => answer({ type: 'refused', id, code, detail })

  async function subscribe({ id, selection, since = {} }: SubscribeRequest): Promise<void> {
    if (subscriptions.has(id)) return refuse(id, 'duplicate_id', `There is a subscription ${id} already.`)
    if (subscriptions.size >= MAX_SUBSCRIPTIONS) return refuse(id, 'too_many_subscriptions', `A socket holds ${MAX_SUBSCRIPTIONS} subscriptions.`)
    const subscription: Subscription = { id, filter: toFilter(selection), seen: new Set() }
    subscriptions.set(id, subscription)
    try {
      const { ids, missing } = await findFirst(subscription, selection)
      if (isOver || subscriptions.get(id) !== subscription) return
      if (followed.size + ids.length > MAX_FOLLOWED_TASKS) {
        subscriptions.delete(id)
        return refuse(id, 'too_many_tasks', `A socket follows ${MAX_FOLLOWED_TASKS} tasks; this would be ${followed.size + ids.length}.`)
      }
      answer({ type: 'subscribed', id, tasks: ids.length, ...(missing && { missing }) })
      isFollowing = true
      for (const taskId of ids) follow(taskId, subscription, since[taskId])
      isFollowing = false
      restIfIdle()
    } catch {
      if (isOver || subscriptions.get(id) !== subscription) return
      subscriptions.delete(id)
      refuse(id, 'unavailable', 'The tasks could not be read. Try again.')
    }
  }

  async function findFirst(subscription: Subscription, selection: Selection): Promise<{ ids: TaskId[]; missing?: TaskId[] }> {
    if ('ids' in selection) return findTasks(selection.ids)
    if (subscription.filter !== undefined) return firstTasks(subscription, selection)
    return { ids: (await listTasks(selection, { limit: MAX_BATCH_TASKS })).map(({ id }) => id) }
  }

  async function findTasks(given: readonly TaskId[]): Promise<{ ids: TaskId[]; missing: TaskId[] }> {
    const wanted = [...new Set(given.map((id) => id.toLowerCase()))]
    const isFound = await Promise.all(wanted.map((id) => hub.find(id)))
    return { ids: wanted.filter((_, index) => isFound[index]), missing: wanted.filter((_, index) => !isFound[index]) }
  }

  async function firstTasks(subscription: Subscription, filter: Filter): Promise<{ ids: TaskId[]; missing?: never }> {
    const tasks = await listTasks(filter, { limit: MAX_FIRST_TASKS })
    subscription.seen = new Set(tasks.map(({ id }) => id))
    const isWanted = ({ status }: { status: Status }) => filter.status !== undefined || !isFinal(status)
    return { ids: tasks.filter(isWanted).map(({ id }) => id) }
  }

  async function look(): Promise<void> {
    const filters = [...subscriptions.values()].filter(({ filter }) => filter !== undefined)
    await Promise.all(filters.map(lookFor))
  }

  async function lookFor(subscription: Subscription): Promise<void> {
    const { filter = {}, seen } = subscription
    const found: TaskId[] = []
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const tasks = await listTasks(filter, { limit: PAGE_SIZE, beforeId: found.at(-1), isLook: true })
      found.push(...tasks.map(({ id }) => id))
      if (tasks.length < PAGE_SIZE || tasks.some(({ id }) => seen.has(id))) break
    }
    if (isOver || subscriptions.get(subscription.id) !== subscription) return
    subscription.seen = new Set(found)
    for (const id of found) if (!seen.has(id) && followed.size < MAX_FOLLOWED_TASKS) follow(id, subscription, undefined)
  }

  function restIfIdle(): void {
    if (isFollowing || followed.size > 0 || isOver) return
    if ([...subscriptions.values()].every(({ filter }) => filter === undefined)) onIdle?.()
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

  /** The message was the last that these subscriptions want of the task. */
  function letGo(id: TaskId, entry: Followed, { status }: StreamMessage): void {
    for (const subscription of entry.subscriptions) {
      const wanted = subscription.filter?.status
      if (wanted !== undefined && wanted !== status) drop(id, entry, subscription)
    }
  }

  function drop(id: TaskId, entry: Followed, subscription: Subscription): void {
    entry.subscriptions.delete(subscription)
    // Seen again in this status, it fits again.
    subscription.seen.delete(id)
    if (entry.subscriptions.size > 0) return
    followed.delete(id)
    entry.stream?.stop()
  }

  function onClosed(id: TaskId, entry: Followed, code: number, reason: string): void {
    if (followed.get(id) === entry) followed.delete(id)
    if (code === CLOSE_CODES.ended || code === CLOSE_CODES.notFound || isOver) return restIfIdle()
    stop()
    sink.close(code, reason)
  }

  function unsubscribe(id: string): void {
    const subscription = subscriptions.get(id)
    if (subscription === undefined) return refuse(id, 'unknown_subscription', `There is no subscription ${id}.`)
    subscriptions.delete(id)
    for (const [taskId, entry] of followed) if (entry.subscriptions.has(subscription)) drop(taskId, entry, subscription)
    answer({ type: 'unsubscribed', id })
  }

  function stop(): void {
    isOver = true
    for (const { stream } of followed.values()) stream?.stop()
    followed.clear()
    subscriptions.clear()
  }

  return {
    subscribe,
    unsubscribe,
    look,
    drained() {
      for (const { stream } of followed.values()) stream?.drained()
    },
    stop,
  }
}

/** What other tasks can come to fit; undefined for ids, and for a whole batch. */
function toFilter(selection: Selection): Filter | undefined {
  if ('ids' in selection) return undefined
  const { batch, ...others } = selection
  return batch !== undefined && Object.keys(others).length === 0 ? undefined : selection
}
