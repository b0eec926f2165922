/**
 * Heartbeats of idle streams, so that a client can tell a quiet connection from a dead one.
 *
 * A half-open connection, whose bytes are silently dropped, looks healthy to a client for minutes, or forever: pages
 * see neither TCP nor the pings of a WebSocket. So each stream sends a `heartbeat` when it was silent for a while, over
 * every transport. The heartbeat repeats the last task, status and version, so a client that reads only the status
 * stays right.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Sink } from '../../live/hub.js'
import type { ListSink } from '../../live/list-stream.js'
import type { HeartbeatMessage, StreamMessage } from '../../protocol/stream.js'
import { startInterval } from '../../timing/interval.js'

/**
 * A stream sends a heartbeat in the third tick after its last message: it is silent for two ticks at least, and for
 * three at most.
 */
const TICKS_PER_BEAT = 3
const PORTION = 250

export interface BeatingSink extends Sink, ListSink {
  /** The connection is over. Idempotent. */
  stop(): void
}

export interface Beats {
  /**
   * Wraps the sink of one connection (without `sendList`, if it has no lists), which then sends heartbeats until it is
   * stopped.
   * @param onIdle sends the heartbeat of a connection before its first message about a task; without it, such a
   *   connection stays silent
   */
  add(sink: Sink & Partial<ListSink>, onIdle?: () => void): BeatingSink
  stop(): void
}

/**
 * One timer for all.
 * @param maxSilenceMs the longest silence of a stream
 * @param onError receives the error of a stream that failed to send a heartbeat; the other streams are sent theirs at
 *   the next tick. Must not throw
 */
export function startBeats(maxSilenceMs: number, onError: (error: unknown) => void): Beats {
  const connections = new Set<() => void>()

  async function tick(): Promise<void> {
    let count = 0
    for (const beat of connections) {
      beat()
      count += 1
      if (count % PORTION === 0) await nextTurn()
    }
  }

  const ticking = startInterval(tick, { everyMs: maxSilenceMs / TICKS_PER_BEAT, isBackground: true, onError })

  return {
    add(sink, onIdle = () => {}) {
      let quietTicks = 0
      // Not the message itself, which may be large.
      let taskId: StreamMessage['taskId'] | undefined
      let status: StreamMessage['status'] = 'PENDING'
      let version = 0

      function beat(): void {
        quietTicks += 1
        if (quietTicks < TICKS_PER_BEAT || sink.bufferedBytes() > 0) return
        quietTicks = 0
        if (taskId === undefined) return onIdle()
        const message: HeartbeatMessage = { type: 'heartbeat', taskId, status, version }
        sink.send(JSON.stringify(message), message)
      }

      connections.add(beat)
      return {
        send(json, message) {
          quietTicks = 0
          if (message) ({ taskId, status, version } = message)
          sink.send(json, message)
        },
        sendList(json, message) {
          quietTicks = 0
          sink.sendList?.(json, message)
        },
        bufferedBytes: () => sink.bufferedBytes(),
        close(code, reason) {
          connections.delete(beat)
          sink.close(code, reason)
        },
        stop: () => connections.delete(beat),
      }
    },
    stop: () => ticking.stop(),
  }
}
