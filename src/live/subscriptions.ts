/**
 * Many tasks over one connection: subscriptions, each a selection of tasks, over the streams of the hub.
 *
 * Each followed task has the guarantee of a stream: every transition once, in order (see `followed-tasks.ts`).
 *
 * - By ids: the tasks are followed until they end.
 * - A batch is treated as its ids: it is complete from the start.
 * - By a filter: the matching tasks that have not ended, newest first, at most `MAX_FIRST_TASKS`; and from then on each
 *   task that starts to match (see `fit-room.ts`), with a snapshot. A task that stops matching is dropped after the
 *   transition that says so. For a final status, the newest tasks in that status are sent too.
 * - A list, whose rows are sent instead of its tasks: see `list-subscriptions.ts`.
 *
 * The order of a subscription by filter: listen for new matches → list the matching tasks → answer → follow. Matches
 * found before the answer wait for it. Tasks beyond the limit of a connection wait until others have ended.
 *
 * The connection stays open when a stream ends. If a stream is closed because this process cannot continue it (restart,
 * slow client), the connection is closed with the same code, and the client reconnects with `since`.
 */
import type { Principal } from '../access/principal.js'
import type { TaskFilter } from '../protocol/filter.js'
import { MAX_BATCH_TASKS } from '../protocol/http.js'
import { isFinal, type Status } from '../protocol/status.js'
import { CLOSE_CODES } from '../protocol/stream.js'
import type { SocketAnswer, RefusedAnswer, Selection, SubscribeRequest } from '../protocol/subscription.js'
import type { TaskId } from '../protocol/task.js'
import { FollowedTasks, type Follower } from './followed-tasks.js'
import type { Hub, Sink } from './hub.js'
import type { ListQuery } from './list-query.js'
import { ListsFullError } from './list-rooms.js'
import type { ListSink } from './list-stream.js'
import { ListSubscriptions } from './list-subscriptions.js'
import type { Lists } from './lists.js'

const MAX_SUBSCRIPTIONS = 50
const MAX_FOLLOWED_TASKS = 5_000
const MAX_FIRST_TASKS = 200
/** The maximum number of tasks that wait for others to end. */
const MAX_WAITING_TASKS = 20_000

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

interface Subscription extends Follower {
  readonly id: string
  /** Tasks that matched before the answer, or wait for others to end; the version by id. */
  readonly waiting: Map<TaskId, number>
  isAnswered: boolean
  watch?: { stop(): void }
}

/** The tasks selected first. */
interface First {
  ids: TaskId[]
  /** Those of the given ids that do not exist. */
  missing?: TaskId[]
}

export class Subscriptions {
  readonly #deps: SubscriptionsDeps
  readonly #subscriptions = new Map<string, Subscription>()
  readonly #lists: ListSubscriptions
  readonly #tasks: FollowedTasks
  #isOver = false
  /** The tasks selected first are being followed. */
  #isFollowing = false

  constructor(deps: SubscriptionsDeps) {
    const { principal, hub, lists, sink, answer } = deps
    const onBroken = (code: number, reason: string) => this.#closeAll(code, reason)
    this.#deps = deps
    this.#lists = new ListSubscriptions({ principal, lists, sink, answer, onClosed: onBroken })
    this.#tasks = new FollowedTasks({
      principal,
      hub,
      sink,
      onFreed: () => this.#followOthers(),
      onEnded: () => this.#reportIdle(),
      onBroken,
    })
  }

  async subscribe({ id, selection, since = {} }: SubscribeRequest): Promise<void> {
    if (this.#isRefused(id)) return
    const subscription: Subscription = { id, filter: toFilter(selection), waiting: new Map(), isAnswered: false }
    this.#subscriptions.set(id, subscription)
    try {
      const first = await this.#findFirst(subscription, selection)
      if (this.#isOpen(subscription)) this.#begin(subscription, first, since)
    } catch (error) {
      if (!this.#isOpen(subscription)) return
      this.#forget(subscription)
      if (error instanceof ListsFullError)
        this.#refuse(id, 'overloaded', 'The server has reached its limit of watched filters. Try again later.')
      else this.#refuse(id, 'unavailable', 'The tasks could not be read. Try again.')
    }
  }

  async subscribeToList(id: string, query: ListQuery): Promise<void> {
    if (!this.#isRefused(id)) await this.#lists.subscribe(id, query)
  }

  unsubscribe(id: string): void {
    const { answer } = this.#deps
    if (this.#lists.unsubscribe(id)) return answer({ type: 'unsubscribed', id })
    const subscription = this.#subscriptions.get(id)
    if (subscription === undefined) return this.#refuse(id, 'unknown_subscription', `There is no subscription ${id}.`)
    this.#forget(subscription)
    this.#tasks.dropAll(subscription)
    answer({ type: 'unsubscribed', id })
  }

  /** The socket has room again. */
  drained(): void {
    this.#lists.drained()
    this.#tasks.drained()
  }

  /** The connection is closed. */
  stop(): void {
    this.#isOver = true
    this.#tasks.stop()
    for (const { watch } of this.#subscriptions.values()) watch?.stop()
    this.#subscriptions.clear()
    this.#lists.stop()
  }

  #isRefused(id: string): boolean {
    const isTaken = this.#subscriptions.has(id) || this.#lists.has(id)
    if (isTaken) this.#refuse(id, 'duplicate_id', `The subscription ${id} already exists.`)
    else if (this.#subscriptions.size + this.#lists.size < MAX_SUBSCRIPTIONS) return false
    else this.#refuse(id, 'too_many_subscriptions', `A socket can have at most ${MAX_SUBSCRIPTIONS} subscriptions.`)
    return true
  }

  #refuse(id: string, code: RefusedAnswer['code'], detail: string): void {
    this.#deps.answer({ type: 'refused', id, code, detail })
  }

  #isOpen(subscription: Subscription): boolean {
    return !this.#isOver && this.#subscriptions.get(subscription.id) === subscription
  }

  #forget(subscription: Subscription): void {
    this.#subscriptions.delete(subscription.id)
    subscription.watch?.stop()
  }

  async #findFirst(subscription: Subscription, selection: Selection): Promise<First> {
    const { principal, lists } = this.#deps
    if ('ids' in selection) return this.#findTasks(selection.ids)
    if (subscription.filter !== undefined) return this.#findMatches(subscription, selection)
    return { ids: (await lists.find(principal, selection, MAX_BATCH_TASKS)).map(({ id }) => id) }
  }

  async #findTasks(given: readonly TaskId[]): Promise<First> {
    const { principal, hub } = this.#deps
    const wanted = [...new Set(given.map((id) => id.toLowerCase()))]
    const isFound = await Promise.all(wanted.map((id) => hub.find(principal, id)))
    return { ids: wanted.filter((_, index) => isFound[index]), missing: wanted.filter((_, index) => !isFound[index]) }
  }

  async #findMatches(subscription: Subscription, filter: TaskFilter): Promise<First> {
    const { principal, lists } = this.#deps
    const watch = await lists.watchFits(principal, filter, (id, version) => this.#onFit(subscription, id, version))
    subscription.watch = watch
    // The subscription ended meanwhile.
    if (!this.#isOpen(subscription)) watch.stop()
    const tasks = await lists.find(principal, filter, MAX_FIRST_TASKS)
    const isWanted = ({ status }: { status: Status }) => filter.status !== undefined || !isFinal(status)
    for (const task of tasks) if (!isWanted(task)) this.#tasks.remember(task.id, task.version)
    return { ids: tasks.filter(isWanted).map(({ id }) => id) }
  }

  #begin(subscription: Subscription, { ids, missing }: First, since: Record<TaskId, number>): void {
    const { id } = subscription
    const taskCount = this.#tasks.size + ids.length
    if (taskCount > MAX_FOLLOWED_TASKS) {
      this.#forget(subscription)
      return this.#refuse(
        id,
        'too_many_tasks',
        `A socket can follow at most ${MAX_FOLLOWED_TASKS} tasks; this request would make it ${taskCount}.`,
      )
    }
    this.#deps.answer({ type: 'subscribed', id, tasks: ids.length, ...(missing && { missing }) })
    this.#isFollowing = true
    for (const taskId of ids) this.#tasks.follow(taskId, subscription, since[taskId])
    this.#isFollowing = false
    subscription.isAnswered = true
    this.#followWaiting(subscription)
    this.#reportIdle()
  }

  #onFit(subscription: Subscription, id: TaskId, version: number): void {
    if (this.#isOver) return
    if (this.#tasks.has(id)) return this.#tasks.follow(id, subscription)
    if (!this.#tasks.isNews(id, version)) return
    subscription.waiting.set(id, version)
    if (subscription.waiting.size > MAX_WAITING_TASKS)
      return this.#closeAll(CLOSE_CODES.overload, 'more tasks match than one connection can follow')
    this.#followWaiting(subscription)
  }

  #followWaiting(subscription: Subscription): void {
    if (!subscription.isAnswered) return
    for (const [id, version] of subscription.waiting) {
      if (!this.#tasks.has(id) && this.#tasks.size >= MAX_FOLLOWED_TASKS) return
      subscription.waiting.delete(id)
      if (this.#tasks.isNews(id, version)) this.#tasks.follow(id, subscription)
    }
  }

  /** A task is no longer followed: a waiting one takes its turn. */
  #followOthers(): void {
    for (const subscription of this.#subscriptions.values())
      if (subscription.waiting.size > 0) this.#followWaiting(subscription)
  }

  #reportIdle(): void {
    if (this.#isFollowing || this.#tasks.size > 0 || this.#lists.size > 0 || this.#isOver) return
    const subscriptions = [...this.#subscriptions.values()]
    if (subscriptions.length > 0 && subscriptions.every(({ filter }) => filter === undefined)) this.#deps.onIdle?.()
  }

  #closeAll(code: number, reason: string): void {
    if (this.#isOver) return
    this.stop()
    this.#deps.sink.close(code, reason)
  }
}

/** The filter by which other tasks can start to match; undefined for ids, and for a whole batch. */
function toFilter(selection: Selection): TaskFilter | undefined {
  if ('ids' in selection) return undefined
  const { batch, ...others } = selection
  return batch !== undefined && Object.keys(others).length === 0 ? undefined : selection
}
