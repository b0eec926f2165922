/**
 * One listening connection to PostgreSQL, from start to end. It ends itself when a probe goes unanswered: `select 1`
 * every 2 s, with 1 s to answer. Statements run one after the other, as `pg` requires.
 */
import type { Notification, QueryResult } from 'pg'
import { withDeadline } from '../timing/deadline.js'
import { startInterval } from '../timing/interval.js'
import type { ChannelLink } from './event-channels.js'
import { connectPostgres } from './postgres-connection.js'

const LISTEN_DEADLINE_MS = 2_000
const PROBE_INTERVAL_MS = 2_000
const PROBE_DEADLINE_MS = 1_000

export interface ListeningConnection extends ChannelLink {
  onNotification(receive: (notification: Notification) => void): void
  /** Resolves with the reason when the connection has ended. */
  readonly ended: Promise<unknown>
  /** Ends the connection with this error as the reason, without waiting for the server. */
  drop(error: unknown): void
  close(): void
}

/** @throws Error `cannot reach PostgreSQL at host:port/database: reason` */
export async function connectListener(databaseUrl: string): Promise<ListeningConnection> {
  // No time-out by the driver: it would forget the overdue statement, and `end` would then wait for the server.
  const client = await connectPostgres(databaseUrl, { query_timeout: 0 }, 'taskwire-events')
  let reason: unknown = new Error('the server closed the connection')
  let last: Promise<unknown> = Promise.resolve()

  function send(text: string): Promise<QueryResult> {
    const sent = last.then(() => client.query(text))
    last = sent.catch(() => {})
    return sent
  }

  function drop(error: unknown): void {
    reason = error
    // While a statement is pending, this closes the socket at once. When the server is silent, one always is.
    void client.end()
  }

  const probing = startInterval(() => withDeadline(send('select 1'), PROBE_DEADLINE_MS, 'no answer to a probe'), {
    everyMs: PROBE_INTERVAL_MS,
    isBackground: true,
    onError: drop,
  })
  client.on('error', (error) => (reason = error))
  const ended = new Promise<unknown>((resolve) => {
    client.once('end', () => {
      probing.stop()
      resolve(reason)
    })
  })

  return {
    ended,
    drop,
    onNotification: (receive) => void client.on('notification', receive),
    async subscribe(names) {
      const listen = send(names.map((name) => `listen ${name}`).join('; '))
      await withDeadline(listen, LISTEN_DEADLINE_MS, 'no acknowledgement of LISTEN')
    },
    async unsubscribe(names) {
      await send(names.map((name) => `unlisten ${name}`).join('; '))
    },
    close() {
      probing.stop()
      void client.end()
    },
  }
}
