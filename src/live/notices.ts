/**
 * The listeners in this process that need every change. While no list is watched there are none, and the process is not
 * subscribed.
 *
 * A listener passed to `add` receives every change from the broker's acknowledgement on, which is awaited for a moment:
 * while the broker is down there is none, and `onGap` is called when it is back. A read after `add` misses nothing.
 */
import type { EventSubscription } from '../broker/broker.js'
import type { Notice } from '../protocol/notice.js'
import { settlesWithin } from '../timing/deadline.js'
import type { Log } from './room.js'

const ACKNOWLEDGE_DEADLINE_MS = 1_000

export interface NoticeListener {
  /** Must not throw. */
  onNotices(notices: readonly Notice[]): void
  /** Notices may have been missed. Must not throw. */
  onGap(): void
}

export interface Notices {
  /** Never rejects. */
  add(listener: NoticeListener): Promise<void>
  remove(listener: NoticeListener): void
  /** Whether the broker can deliver notices now. */
  isUp(): boolean
}

export interface NoticeBoard extends Notices {
  tell(notices: readonly Notice[]): void
  tellOfGap(): void
}

export function createNoticeBoard(subscription: () => EventSubscription, log: Log): NoticeBoard {
  const listeners = new Set<NoticeListener>()
  let acknowledged: Promise<void> | undefined

  async function subscribe(): Promise<void> {
    const answered = subscription()
      .subscribeNotices()
      .catch((error: unknown) => {
        log.warn(
          { err: error },
          'the broker did not acknowledge the subscription of lists; polling PostgreSQL more often',
        )
      })
    if (!subscription().isUp()) return
    await settlesWithin(answered, ACKNOWLEDGE_DEADLINE_MS)
  }

  return {
    add(listener) {
      listeners.add(listener)
      acknowledged ??= subscribe()
      return acknowledged
    },
    remove(listener) {
      if (!listeners.delete(listener) || listeners.size > 0) return
      acknowledged = undefined
      subscription().unsubscribeNotices()
    },
    isUp: () => subscription().isUp(),
    tell(notices) {
      for (const listener of listeners) listener.onNotices(notices)
    },
    tellOfGap() {
      for (const listener of listeners) listener.onGap()
    },
  }
}
