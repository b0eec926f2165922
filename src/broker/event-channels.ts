/**
 * Which channels this process wants, and which of them the broker has acknowledged: the part of the listening side that
 * Redis and PostgreSQL share.
 *
 * A channel is wanted from its first `acquire` until 30 s after its last `release`. Its life: asked for when the
 * link is up → acknowledged → (link lost: not acknowledged, asked for again on the next link) → dropped.
 *
 * - A link that comes up asks for all wanted channels in one go; `linkUp` resolves when all are acknowledged. Only then
 *   has the owner of the link a reason to say `onGap`: "connected" alone is not "subscribed".
 * - `acquire` resolves with the acknowledgement. It rejects after 2 s without one, and the channel stays wanted: it is
 *   asked for as soon as there is a link again.
 * - SUBSCRIBE and UNSUBSCRIBE of one channel stay in order, because each link sends them in the order they are called.
 */
import { withDeadline } from '../timing/deadline.js'

const ACKNOWLEDGE_DEADLINE_MS = 2_000
/** The next watcher of a task in this slot then waits for no acknowledgement. Meanwhile events come that nobody needs, and are not parsed. */
const LINGER_MS = 30_000

/** One connection that has come up. It is never used again after `linkDown`. */
export interface ChannelLink {
  /** Resolves when the broker has acknowledged all of them. */
  subscribe(channels: readonly string[]): Promise<void>
  unsubscribe(channels: readonly string[]): Promise<void>
}

export interface EventChannels {
  acquire(channel: string): Promise<void>
  release(channel: string): void
  /** Whether somebody holds this channel: messages of others are late ones, to be ignored. */
  isHeld(channel: string): boolean
  /** Whether a link is up and all that was wanted when it came up is acknowledged. */
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

/** `onRefused`: the broker did not acknowledge a channel over a link that is still up; the owner renews the link. */
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
    // Fails when the link is lost, and then there is nothing to unsubscribe from.
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
