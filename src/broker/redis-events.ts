/**
 * Events over Redis pub/sub.
 *
 * Order on the subscribing side: connection ready → SUBSCRIBE to all wanted channels → wait for the acknowledgement →
 * `onGap` (not the first time) → events. ioredis can resubscribe by itself, but reports `ready` before the
 * acknowledgement, and a refill started at that point would miss events.
 *
 * A connection can look healthy and be dead. A PING is sent over the subscribing connection every 2 s; without an
 * answer within 1 s it is dropped and opened again. So it is when a SUBSCRIBE is refused or lost.
 */
import { ReplyError, type Redis } from 'ioredis'
import type { Notice } from '../protocol/notice.js'
import type { Event } from '../protocol/stream.js'
import { withDeadline } from '../timing/deadline.js'
import { startInterval } from '../timing/interval.js'
import type { EventListener, EventSubscription } from './broker.js'
import { createEventBus, type OpenEventBus } from './event-bus.js'
import { createEventChannels, type ChannelLink } from './event-channels.js'
import {
  deliverMessage,
  deliverNotices,
  encodeEvent,
  encodeNotices,
  isCancel,
  slotOf,
  toNotice,
} from './event-codec.js'
import { explain } from './explain.js'
import type { IncidentLog } from './incident-log.js'
import { connectRedis, SUBSCRIBER_OPTIONS } from './redis-connection.js'

const PUBLISH_DEADLINE_MS = 2_000
const SUBSCRIBE_DEADLINE_MS = 2_000
const PROBE_INTERVAL_MS = 2_000
const PROBE_DEADLINE_MS = 1_000
const REFUSED_PAUSE_MS = 1_000

/** The number is the hash tag, so that a cluster could spread the channels. */
function channelOf(taskId: string): string {
  return `taskwire:{${slotOf(taskId)}}:events`
}

/** Every transition to CANCELLING, for workers. */
const CANCELS = 'taskwire:cancels'
/** The notices of all tasks, for lists. */
const NOTICES = 'taskwire:notices'
/** Above this number of messages a pipeline pays off. */
const MAX_SINGLE_MESSAGES = 4

/** Publishes over `commands`. The caller owns and closes it. */
export function createRedisEvents(redisUrl: string, commands: Redis, incidents: IncidentLog): OpenEventBus {
  return createEventBus({
    publish: (events) => publish(commands, messagesOf(events)),
    publishNotices: (notices) => publish(commands, noticesOf(notices)),
    hasNoticeListeners: () => hasSubscribers(commands, NOTICES),
    listen: (listener) => openRedisSubscription(redisUrl, listener, incidents),
  })
}

type Message = [channel: string, text: string]

/**
 * One round trip; the order of the events is kept. A few commands go without a pipeline: creating one takes a quarter
 * of a millisecond on a connection that carries BullMQ's scripts.
 */
async function publish(commands: Redis, messages: readonly Message[]): Promise<void> {
  const isFew = messages.length <= MAX_SINGLE_MESSAGES
  const answered: Promise<unknown> = isFew
    ? Promise.all(messages.map((message) => commands.publish(...message)))
    : publishAll(commands, messages)
  await withDeadline(answered, PUBLISH_DEADLINE_MS, 'no answer in time').catch((error: unknown) => {
    throw explain('Redis did not take the events', error)
  })
}

async function hasSubscribers(commands: Redis, channel: string): Promise<boolean> {
  const asked = commands.pubsub('NUMSUB', channel)
  const [, count] = await withDeadline(asked, PUBLISH_DEADLINE_MS, 'no answer in time').catch((error: unknown) => {
    throw explain('Redis did not say who listens', error)
  })
  return Number(count) > 0
}

function messagesOf(events: readonly Event[]): Message[] {
  const messages = events.flatMap((event): Message[] => {
    const text = encodeEvent(event)
    return isCancel(event)
      ? [
          [channelOf(event.taskId), text],
          [CANCELS, text],
        ]
      : [[channelOf(event.taskId), text]]
  })
  return [...messages, ...noticesOf(events.flatMap((event) => toNotice(event) ?? []))]
}

function noticesOf(notices: readonly Notice[]): Message[] {
  return encodeNotices(notices).map((text) => [NOTICES, text])
}

async function publishAll(commands: Redis, messages: readonly Message[]): Promise<void> {
  const pipeline = commands.pipeline()
  for (const message of messages) pipeline.publish(...message)
  const results = await pipeline.exec()
  const error = results?.find(([failure]) => failure !== null)?.[0]
  if (error) throw error
}

async function openRedisSubscription(
  redisUrl: string,
  listener: EventListener,
  incidents: IncidentLog,
): Promise<EventSubscription> {
  const client = await connectRedis(redisUrl, SUBSCRIBER_OPTIONS, incidents)
  const channels = createEventChannels(renewLink)

  function renewLink(error: unknown): void {
    // Commands pending when the link was lost fail too; the next `ready` handles those.
    if (client.status !== 'ready') return
    incidents.warn('the subscribing connection to Redis does not answer; reconnecting', error)
    channels.linkDown()
    // The command was refused, the connection not lost: reconnecting at once would hardly help.
    if (error instanceof ReplyError) setTimeout(() => client.disconnect(true), REFUSED_PAUSE_MS).unref()
    else client.disconnect(true)
  }

  client.on('close', () => channels.linkDown())
  client.on('ready', () => {
    channels.linkUp(linkOver(client)).then(() => channels.isUp() && listener.onGap(), renewLink)
  })
  client.on('message', (channel: string, text: string) => {
    if (!channels.isHeld(channel)) return
    try {
      if (channel === NOTICES) deliverNotices(text, listener)
      else deliverMessage(text, listener)
    } catch (error) {
      incidents.warn('an event could not be handled', error)
    }
  })
  const probe = async () =>
    client.status === 'ready' && (await withDeadline(client.ping(), PROBE_DEADLINE_MS, 'no answer to PING'))
  const probing = startInterval(probe, { everyMs: PROBE_INTERVAL_MS, isBackground: true, onError: renewLink })
  await channels.linkUp(linkOver(client))

  return {
    subscribe: (taskId) => channels.acquire(channelOf(taskId)),
    unsubscribe: (taskId) => channels.release(channelOf(taskId)),
    subscribeNotices: () => channels.acquire(NOTICES),
    unsubscribeNotices: () => channels.release(NOTICES),
    subscribeCancels: () => channels.acquire(CANCELS),
    isUp: () => channels.isUp(),
    async close() {
      probing.stop()
      channels.close()
      client.disconnect()
    },
  }
}

function linkOver(client: Redis): ChannelLink {
  return {
    async subscribe(names) {
      await withDeadline(client.subscribe(...names), SUBSCRIBE_DEADLINE_MS, 'no acknowledgement of SUBSCRIBE')
    },
    async unsubscribe(names) {
      await client.unsubscribe(...names)
    },
  }
}
