/**
 * A stream of the hub over a plain HTTP response that does not end until the task does.
 *
 * The hub decides what is sent and when it is over, as it does for a WebSocket; the response is its sink. What the network
 * has not taken counts as buffered, and `drain` goes on. The task ends, or the server stops: the response ends. The client
 * is gone, or takes nothing for too long: the connection is cut.
 */
import type { FastifyReply } from 'fastify'
import type { Hub, Sink, TaskStream } from '../live/hub.js'
import { CLOSE_CODES } from '../protocol/stream.js'
import type { TaskId } from '../protocol/task.js'
import type { EventFormat } from './event-format.js'

const HEARTBEAT_MS = 15_000

export interface HttpStreams {
  /** Answers with the stream of a task that was found. `onEnd` is called once, when the connection is over. */
  follow(id: TaskId, options: { since: number | undefined; format: EventFormat; onEnd(): void }, reply: FastifyReply): void
  stop(): void
}

/** One timer for the heartbeats of all. */
export function startHttpStreams(hub: Hub): HttpStreams {
  const beats = new Set<() => void>()
  const timer = setInterval(() => beats.forEach((beat) => beat()), HEARTBEAT_MS).unref()

  return {
    follow(id, { since, format, onEnd }, reply) {
      // From here on Fastify leaves the answer alone; what its hooks have set goes along.
      reply.hijack()
      const { raw } = reply
      reply.headers({ 'content-type': format.contentType, 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
      for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) raw.setHeader(name, value)
      raw.flushHeaders()
      if (format.opening !== '') raw.write(format.opening)

      const sink: Sink = {
        send: (json, message) => void (message && raw.write(format.format(json, message))),
        bufferedBytes: () => raw.writableLength,
        close(code, reason) {
          if (code === CLOSE_CODES.tooSlow) raw.destroy()
          else raw.end(code === CLOSE_CODES.restart ? format.comeBack(Number(/\d+/.exec(reason)?.[0])) : undefined)
        },
      }
      const beat = () => {
        if (format.heartbeat !== '' && raw.writableLength === 0) raw.write(format.heartbeat)
      }
      beats.add(beat)
      const stream: TaskStream = hub.attach(id, { since }, sink)
      raw.on('drain', () => stream.drained())
      raw.on('error', () => {})
      raw.once('close', () => {
        beats.delete(beat)
        stream.stop()
        onEnd()
      })
    },
    stop: () => clearInterval(timer),
  }
}
