/**
 * What streams say when they have nothing to say, so that a client can tell a quiet connection from a dead one.
 *
 * A connection whose bytes are dropped without a word looks healthy to a client for minutes, or for ever: pages see neither TCP nor the
 * pings of a WebSocket. So each stream says a `heartbeat` when it was silent for a while, over every transport. It repeats the task,
 * status and version that were told last: a client that reads nothing but the status stays right.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Sink } from '../../live/hub.js'
import type { ListSink } from '../../live/list-stream.js'
import type { HeartbeatMessage, StreamMessage } from '../../protocol/stream.js'
import { startInterval } from '../../timing/interval.js'

/** A stream is told to speak in the third tick after its last word: it is silent for two ticks at least, and for three at most. */
const TICKS_PER_BEAT = 3
const PORTION = 250

export interface BeatingSink extends Sink, ListSink {
  /** The connection is over. Idempotent. */
  stop(): void
}

export interface Beats {
  /**
   * Wraps the sink of one connection (without `sendList`: one that tells of no lists), which says heartbeats from now on until it is stopped.
   * @param onIdle says that of a connection that has told of no task; without it, such a one stays silent
   */
  add(sink: Sink & Partial<ListSink>, onIdle?: () => void): BeatingSink
  stop(): void
}

/**
 * One timer for all.
 * @param maxSilenceMs how long a stream is silent at most
 * @param onError what a stream threw when it was told to speak; the others speak the next time. Must not throw
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
