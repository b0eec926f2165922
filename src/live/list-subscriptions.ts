/**
 * The lists that one connection follows: each subscription has its own stream, and shares its room with other
 * connections.
 */
import type { Principal } from '../access/principal.js'
import { CLOSE_CODES } from '../protocol/stream.js'
import type { SocketAnswer } from '../protocol/subscription.js'
import type { ListQuery } from './list-query.js'
import { ListsFullError } from './list-rooms.js'
import type { ListSink } from './list-stream.js'
import type { Lists, OpenList } from './lists.js'
import { OpenStreams } from './open-streams.js'
import type { TaskStream } from './task-stream.js'

const MAX_LISTS = 8

export interface ListSubscriptionsDeps {
  principal: Principal
  lists: Pick<Lists, 'open'>
  sink: ListSink
  answer(message: SocketAnswer): void
  /** A list was closed because this process cannot continue it; the connection is closed too. */
  onClosed(code: number, reason: string): void
}

/** A list that is still being read has no stream yet. */
interface Subscription {
  stream?: TaskStream
}

export class ListSubscriptions extends OpenStreams<string, Subscription> {
  readonly #deps: ListSubscriptionsDeps

  constructor(deps: ListSubscriptionsDeps) {
    super()
    this.#deps = deps
  }

  async subscribe(id: string, query: ListQuery): Promise<void> {
    const { principal, lists, answer } = this.#deps
    const refuse = (code: 'too_many_lists' | 'overloaded' | 'unavailable', detail: string) =>
      answer({ type: 'refused', id, code, detail })
    if (this.size >= MAX_LISTS) return refuse('too_many_lists', `A connection can follow at most ${MAX_LISTS} lists.`)
    const subscription: Subscription = {}
    this.entries.set(id, subscription)
    try {
      const list = await lists.open(principal, query)
      if (this.entries.get(id) === subscription) this.#begin(id, subscription, list)
    } catch (error) {
      if (this.entries.get(id) !== subscription) return
      this.entries.delete(id)
      if (error instanceof ListsFullError)
        refuse('overloaded', 'The server has reached its limit of watched lists. Try again later.')
      else refuse('unavailable', 'The list could not be read. Try again.')
    }
  }

  /** False: there is no such subscription. */
  unsubscribe(id: string): boolean {
    this.entries.get(id)?.stream?.stop()
    return this.entries.delete(id)
  }

  #begin(id: string, subscription: Subscription, list: OpenList): void {
    const { sink, answer, onClosed } = this.#deps
    answer({ type: 'subscribed', id, tasks: list.size, list: list.name })
    const stream = list.follow({
      sendList: (json, message) => sink.sendList(json, message),
      bufferedBytes: () => sink.bufferedBytes(),
      close: (code, reason) => {
        this.entries.delete(id)
        if (code !== CLOSE_CODES.ended) onClosed(code, reason)
      },
    })
    subscription.stream = stream
  }
}
