/**
 * Events over LISTEN and NOTIFY, for installations without Redis.
 *
 * Order on the subscribing side: connect → LISTEN to all wanted channels → wait for the acknowledgement → `onGap` (not
 * the first time) → events. When the connection ends (see `postgres-listener.ts`) the next is opened. Attempts go on
 * without end, at most a second apart.
 *
 * A batch is published by one statement and so costs one commit: commits that notify wait for each other server-wide.
 */
import type { Notification, Pool } from 'pg'
import type { Notice } from '../protocol/notice.js'
import type { Event } from '../protocol/stream.js'
import { withDeadline } from '../timing/deadline.js'
import { startLoop } from '../timing/loop.js'
import type { EventListener, EventSubscription } from './broker.js'
import { createEventBus, type OpenEventBus } from './event-bus.js'
import { createEventChannels } from './event-channels.js'
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
import { connectListener, type ListeningConnection } from './postgres-listener.js'

const PUBLISH_DEADLINE_MS = 2_000
const FIRST_RECONNECT_PAUSE_MS = 50
const MAX_RECONNECT_PAUSE_MS = 1_000

const NOTIFY_ALL = {
  name: 'taskwire-notify',
  text: 'select pg_notify(channel, payload) from unnest($1::text[], $2::text[]) as event (channel, payload)',
}

/** The name needs no quoting. */
function channelOf(taskId: string): string {
  return `taskwire_events_${slotOf(taskId)}`
}

/** Every transition to CANCELLING, for workers. */
const CANCELS = 'taskwire_cancels'
/** The notices of all tasks, for lists. */
const NOTICES = 'taskwire_notices'

/** Publishes over `statements`. The caller owns and closes it. */
export function createPostgresEvents(databaseUrl: string, statements: Pool, incidents: IncidentLog): OpenEventBus {
  return createEventBus({
    publish: (events) => publish(statements, messagesOf(events)),
    publishNotices: (notices) => publish(statements, noticesOf(notices)),
    // PostgreSQL shows the channels of no session but the own.
    hasNoticeListeners: async () => true,
    listen: (listener) => openPostgresSubscription(databaseUrl, listener, incidents),
  })
}

type Message = [channel: string, text: string]

function messagesOf(events: readonly Event[]): Message[] {
  const cancels = events.filter(isCancel)
  return [
    ...events.map((event): Message => [channelOf(event.taskId), encodeEvent(event)]),
    ...cancels.map((event): Message => [CANCELS, encodeEvent(event)]),
    ...noticesOf(events.flatMap((event) => toNotice(event) ?? [])),
  ]
}

function noticesOf(notices: readonly Notice[]): Message[] {
  return encodeNotices(notices).map((text) => [NOTICES, text])
}

async function publish(statements: Pool, messages: readonly Message[]): Promise<void> {
  const values = [messages.map(([channel]) => channel), messages.map(([, text]) => text)]
  try {
    await withDeadline(statements.query({ ...NOTIFY_ALL, values }), PUBLISH_DEADLINE_MS, 'no answer in time')
  } catch (error) {
    throw explain('PostgreSQL did not take the events', error)
  }
}

async function openPostgresSubscription(
  databaseUrl: string,
  listener: EventListener,
  incidents: IncidentLog,
): Promise<EventSubscription> {
  const channels = createEventChannels((error) => current.drop(error))
  let isClosed = false
  let isFirst = true
  let current = await connectListener(databaseUrl)

  function receive({ channel, payload = '' }: Notification): void {
    if (!channels.isHeld(channel)) return
    try {
      if (channel === NOTICES) deliverNotices(payload, listener)
      else deliverMessage(payload, listener)
    } catch (error) {
      incidents.warn('an event could not be handled', error)
    }
  }

  /** Serves one connection until it ends. */
  async function serve(connection: ListeningConnection, onLinked: () => void): Promise<void> {
    connection.onNotification(receive)
    channels.linkUp(connection).then(
      () => channels.isUp() && onLinked(),
      (error: unknown) => connection.drop(error),
    )
    const reason = await connection.ended
    channels.linkDown()
    if (!isClosed) incidents.warn('the listening connection to PostgreSQL was lost; reconnecting', reason)
  }

  async function serveNext(): Promise<boolean> {
    if (!isFirst) current = await connectListener(databaseUrl)
    const onLinked = isFirst ? () => {} : () => listener.onGap()
    isFirst = false
    if (isClosed) current.close()
    else await serve(current, onLinked)
    return false
  }

  const serving = startLoop(serveNext, {
    intervalMs: FIRST_RECONNECT_PAUSE_MS,
    maxPauseMs: MAX_RECONNECT_PAUSE_MS,
    onError: (error) => isClosed || incidents.warn('cannot LISTEN on PostgreSQL; reconnecting', error),
  })

  return {
    subscribe: (taskId) => channels.acquire(channelOf(taskId)),
    unsubscribe: (taskId) => channels.release(channelOf(taskId)),
    subscribeNotices: () => channels.acquire(NOTICES),
    unsubscribeNotices: () => channels.release(NOTICES),
    subscribeCancels: () => channels.acquire(CANCELS),
    isUp: () => channels.isUp(),
    async close() {
      isClosed = true
      void serving.stop()
      channels.close()
      current.close()
    },
  }
}
