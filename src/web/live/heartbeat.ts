/**
 * Finds half-open sockets: a single timer pings each socket now and then.
 *
 * A silent socket is closed with 4003; ws terminates it if the client does not answer that either.
 */
import type { WebSocket } from '@fastify/websocket'
import { CLOSE_CODES } from '../../protocol/stream.js'

export interface HeartbeatOptions {
  /** The interval between the pings of a socket, in milliseconds. Default 20,000. */
  pingMs?: number
  /** How long a socket may be silent; more than two pings. Default 45,000. */
  maxSilenceMs?: number
}

export interface Heartbeat {
  /** Starts now, and ends when the socket closes. */
  add(socket: WebSocket): void
  stop(): void
}

interface Pulse {
  pingedAtMs: number
  heardAtMs: number
}

/** Pings are spread over time, because the timer ticks four times as often. */
const TICKS_PER_PING = 4

export function startHeartbeat({ pingMs = 20_000, maxSilenceMs = 45_000 }: HeartbeatOptions): Heartbeat {
  const pulses = new Map<WebSocket, Pulse>()

  const timer = setInterval(() => {
    const nowMs = performance.now()
    for (const [socket, pulse] of pulses) {
      if (socket.readyState !== socket.OPEN) continue
      if (nowMs - pulse.heardAtMs > maxSilenceMs) {
        socket.close(CLOSE_CODES.noPong, `no data for ${maxSilenceMs} ms`)
      } else if (nowMs - pulse.pingedAtMs >= pingMs) {
        pulse.pingedAtMs = nowMs
        socket.ping()
      }
    }
  }, pingMs / TICKS_PER_PING).unref()

  return {
    add(socket) {
      const pulse = { pingedAtMs: performance.now(), heardAtMs: performance.now() }
      const hear = () => (pulse.heardAtMs = performance.now())
      pulses.set(socket, pulse)
      for (const sign of ['pong', 'ping', 'message']) socket.on(sign, hear)
      socket.on('close', () => pulses.delete(socket))
    },
    stop: () => clearInterval(timer),
  }
}
