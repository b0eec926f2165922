/**
 * Tracks which channels this process wants and which the broker has acknowledged. Shared by the Redis and the
 * PostgreSQL subscription.
 *
 * A channel is wanted from its first `acquire` until 30 s after its last `release`. Its life: requested when the link
 * is up → acknowledged → (link lost: no longer acknowledged, requested again on the next link) → dropped.
 *
 * - A new link requests all wanted channels in one call. `linkUp` resolves when all are acknowledged, and only then may
 *   the owner of the link call `onGap`: "connected" is not yet "subscribed".
 * - `acquire` resolves with the acknowledgement. It rejects after 2 s without one, but the channel stays wanted and is
 *   requested again as soon as there is a link.
 * - SUBSCRIBE and UNSUBSCRIBE of one channel stay in order, because each link sends them in the order of the calls.
 */
import { withDeadline } from '../timing/deadline.js'

const ACKNOWLEDGE_DEADLINE_MS = 2_000
/**
 * How long an unused channel stays subscribed. Until then, the next stream in this slot needs no acknowledgement, and
 * unneeded events arrive but are not parsed.
 */
const LINGER_MS = 30_000

/** One connection that is up. Never reused after `linkDown`. */
export interface ChannelLink {
  /** Resolves when the broker has acknowledged all of them. */
  subscribe(channels: readonly string[]): Promise<void>
  unsubscribe(channels: readonly string[]): Promise<void>
}

export interface EventChannels {
  acquire(channel: string): Promise<void>
  release(channel: string): void
  /** Whether this channel has a holder. Messages on a channel without one are late and are ignored. */
  isHeld(channel: string): boolean
  /** Whether a link is up and every channel wanted when it came up has been acknowledged. */
  isUp(): boolean
  linkUp(link: ChannelLink): Promise<void>
  linkDown(): void
  close(): void
}

interface Channel {
  readonly name: string
  holders: number
  acknowledgement: Acknowledgement
  dropTimer?: NodeJS.Timeout
}

/**
 * `onRefused` is called when the broker did not acknowledge a channel over a link that is still up. The owner then
 * replaces the link.
 */
export function createEventChannels(onRefused: (error: unknown) => void): EventChannels {
  const channels = new Map<string, Channel>()
  let link: ChannelLink | undefined
  let isUp = false

  async function ask(asked: readonly Channel[]): Promise<void> {
    const over = link
    if (over === undefined || asked.length === 0) return
    const waiting = asked.map((channel) => channel.acknowledgement)
    await over.subscribe(asked.map((channel) => channel.name))
    if (over !== link) return
    for (const acknowledgement of waiting) acknowledgement.resolve()
  }

  function drop(channel: Channel): void {
    channels.delete(channel.name)
    // Fails only when the link is lost, and then there is nothing to unsubscribe from.
    link?.unsubscribe([channel.name]).catch(() => {})
  }

  return {
    acquire(name) {
      const known = channels.get(name)
      const channel = known ?? { name, holders: 0, acknowledgement: createAcknowledgement() }
      channel.holders += 1
      clearTimeout(channel.dropTimer)
      if (known === undefined) {
        channels.set(name, channel)
        const over = link
        ask([channel]).catch((error: unknown) => {
          if (over === link) onRefused(error)
        })
      }
      const { promise } = channel.acknowledgement
      return withDeadline(promise, ACKNOWLEDGE_DEADLINE_MS, 'the broker has not acknowledged the subscription yet')
    },
    release(name) {
      const channel = channels.get(name)
      if (channel === undefined || channel.holders === 0) return
      channel.holders -= 1
      if (channel.holders === 0) channel.dropTimer = setTimeout(drop, LINGER_MS, channel).unref()
    },
    isHeld: (name) => (channels.get(name)?.holders ?? 0) > 0,
    isUp: () => isUp,
    async linkUp(newLink) {
      link = newLink
      await ask([...channels.values()])
      isUp = link === newLink
    },
    linkDown() {
      link = undefined
      isUp = false
      for (const channel of channels.values()) {
        if (channel.acknowledgement.isGiven) channel.acknowledgement = createAcknowledgement()
      }
    },
    close() {
      for (const channel of channels.values()) clearTimeout(channel.dropTimer)
      channels.clear()
      link = undefined
      isUp = false
    },
  }
}

interface Acknowledgement {
  readonly promise: Promise<void>
  readonly isGiven: boolean
  resolve(): void
}

function createAcknowledgement(): Acknowledgement {
  let isGiven = false
  let settle: () => void = () => {}
  const promise = new Promise<void>((resolve) => (settle = resolve))
  return {
    promise,
    get isGiven() {
      return isGiven
    },
    resolve() {
      isGiven = true
      settle()
    },
  }
}
