import type { EventBus, EventSubscription } from './broker.js'

export interface OpenEventBus extends EventBus {
  /** Closes the subscriptions that are still open. */
  close(): Promise<void>
}

/** What both buses share: publishing nothing sends nothing, and closing the bus closes its subscriptions. */
export function createEventBus({ publish, publishNotices, hasNoticeListeners, listen }: EventBus): OpenEventBus {
  const subscriptions = new Set<EventSubscription>()
  return {
    async publish(events) {
      if (events.length > 0) await publish(events)
    },
    async publishNotices(notices) {
      if (notices.length > 0) await publishNotices(notices)
    },
    hasNoticeListeners,
    async listen(listener) {
      const subscription = await listen(listener)
      subscriptions.add(subscription)
      return subscription
    },
    async close() {
      await Promise.all([...subscriptions].map((subscription) => subscription.close()))
    },
  }
}
