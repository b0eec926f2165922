/**
 * Events over LISTEN and NOTIFY, for a machine without Redis.
 *
 * Order on the listening side: connect → LISTEN all wanted channels → wait for the acknowledgement → `onGap` (not the
 * first time) → events. The connection is lost when it ends, or when it leaves a probe unanswered: `select 1` every 2 s,
 * with 1 s to answer. Then another is made, without end, at most a second apart.
 *
 * A batch is published by one statement, so that it costs one commit: commits that notify wait for each other in the
 * whole server.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client, Pool } from 'pg'
import type { Event } from '../protocol/stream.js'
import type { EventBus, EventListener, EventSubscription } from './broker.js'
import { reasonOf, withDeadline } from './deadline.js'
import { createEventChannels, type ChannelLink } from './event-channels.js'
import { deliverMessage, encodeEvent, slotOf } from './event-codec.js'
import type { IncidentLog } from './incident-log.js'
import { connectPostgres } from './postgres-connection.js'

const PUBLISH_DEADLINE_MS = 2_000
const LISTEN_DEADLINE_MS = 2_000
const PROBE_INTERVAL_MS = 2_000
const PROBE_DEADLINE_MS = 1_000
const FIRST_RECONNECT_PAUSE_MS = 50
const MAX_RECONNECT_PAUSE_MS = 1_000

const NOTIFY_ALL = {
  name: 'taskwire-notify',
  text: 'select pg_notify(channel, payload) from unnest($1::text[], $2::text[]) as event (channel, payload)',
}

/** A name that needs no quoting. */
function channelOf(taskId: string): string {
  return `taskwire_events_${slotOf(taskId)}`
}

/** Publishes over `statements`, which somebody else owns. */
export function createPostgresEvents(databaseUrl: string, statements: Pool, incidents: IncidentLog): EventBus {
  return {
    publish: (events) => publish(statements, events),
    listen: (listener) => openPostgresSubscription(databaseUrl, listener, incidents),
  }
}

async function publish(statements: Pool, events: readonly Event[]): Promise<void> {
  if (events.length === 0) return
  const values = [events.map((event) => channelOf(event.taskId)), events.map(encodeEvent)]
  try {
    await withDeadline(statements.query({ ...NOTIFY_ALL, values }), PUBLISH_DEADLINE_MS, 'no answer in time')
  } catch (error) {
    throw new Error(`PostgreSQL did not take the events: ${reasonOf(error)}`)
  }
}

async function openPostgresSubscription(databaseUrl: string, listener: EventListener, incidents: IncidentLog): Promise<EventSubscription> {
  const channels = createEventChannels(dropConnection)
  const closed = new AbortController()
  let client: Client | undefined

  /** Ends the current connection; the loop below makes the next one. `end` waits for no answer while one is overdue. */
  function dropConnection(error: unknown): void {
    incidents.warn('the listening connection to PostgreSQL does not answer; reconnecting', error)
    channels.linkDown()
    void client?.end()
  }

  async function connect(): Promise<Client> {
    const connected = await connectPostgres(databaseUrl, { application_name: 'taskwire-events', query_timeout: 0 })
    connected.on('notification', ({ channel, payload = '' }) => {
      if (!channels.isHeld(channel)) return
      try {
        deliverMessage(payload, listener)
      } catch (error) {
        incidents.warn('an event could not be handled', error)
      }
    })
    client = connected
    return connected
  }

  /** Until this connection has ended. */
  async function serve(connected: Client, isFirst: boolean): Promise<void> {
    const ended = new Promise<void>((resolve) => connected.once('end', resolve))
    const probe = setInterval(() => {
      withDeadline(connected.query('select 1'), PROBE_DEADLINE_MS, 'no answer to a probe').catch((error: unknown) => {
        if (client === connected && channels.isUp()) dropConnection(error)
      })
    }, PROBE_INTERVAL_MS).unref()
    channels.linkUp(linkOver(connected)).then(
      () => !isFirst && channels.isUp() && listener.onGap(),
      (error: unknown) => client === connected && dropConnection(error),
    )
    await ended
    clearInterval(probe)
    channels.linkDown()
  }

  async function serveForever(first: Client): Promise<void> {
    await serve(first, true)
    let pauseMs = FIRST_RECONNECT_PAUSE_MS
    while (!closed.signal.aborted) {
      try {
        await sleep(pauseMs, undefined, { signal: closed.signal })
        pauseMs = Math.min(pauseMs * 2, MAX_RECONNECT_PAUSE_MS)
        const next = await connect()
        if (closed.signal.aborted) return void next.end()
        await serve(next, false)
        pauseMs = FIRST_RECONNECT_PAUSE_MS
      } catch (error) {
        if (!closed.signal.aborted) incidents.warn('the listening connection to PostgreSQL failed; reconnecting', error)
      }
    }
  }

  void serveForever(await connect())

  return {
    subscribe: (taskId) => channels.acquire(channelOf(taskId)),
    unsubscribe: (taskId) => channels.release(channelOf(taskId)),
    isUp: () => channels.isUp(),
    async close() {
      closed.abort()
      channels.close()
      void client?.end()
    },
  }
}

function linkOver(client: Client): ChannelLink {
  const all = (command: string, names: readonly string[]) => client.query(names.map((name) => `${command} ${name}`).join('; '))
  return {
    async subscribe(names) {
      await withDeadline(all('listen', names), LISTEN_DEADLINE_MS, 'no acknowledgement of LISTEN')
    },
    async unsubscribe(names) {
      await all('unlisten', names)
    },
  }
}
