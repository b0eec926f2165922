/**
 * A stream over a plain HTTP response that ends when the task does, or all tasks of a selection.
 *
 * As for a WebSocket, the hub decides what is sent and when the stream is over; the response is its sink. Bytes that
 * the network has not taken count as buffered, and `drain` continues. If the task ends or the server stops, the
 * response ends. If the client is gone, or reads nothing for too long, the connection is cut. HEAD is answered with the
 * headers alone, without a stream.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Hub, Sink, TaskStream } from '../../live/hub.js'
import type { ListQuery } from '../../live/list-query.js'
import type { ListSink } from '../../live/list-stream.js'
import { chooseRetryPause, restartReason } from '../../live/restart-reason.js'
import type { Position } from '../../live/room.js'
import { CLOSE_CODES, type StreamMessage } from '../../protocol/stream.js'
import type { Selection } from '../../protocol/subscription.js'
import type { TaskId } from '../../protocol/task.js'
import { ProblemError } from '../problem.js'
import type { BeatingSink, Beats } from './beats.js'
import type { EventFormat } from './event-format.js'
import type { OpenSubscriptions } from './subscription-socket.js'

interface HttpStreamOptions {
  format: EventFormat
  /** Called once, when the connection is over. */
  onEnd(): void
}

/** What the stream of a selection starts with. */
interface SelectionStreamOptions extends HttpStreamOptions {
  since: Record<TaskId, number>
  list?: ListQuery | undefined
}

export interface HttpStreamsDeps {
  hub: Pick<Hub, 'attach'>
  openSubscriptions: OpenSubscriptions
  beats: Beats
}

interface OpenStream {
  readonly sink: BeatingSink
  readonly raw: FastifyReply['raw']
}

export class HttpStreams {
  readonly #deps: HttpStreamsDeps
  readonly #open = new Set<OpenStream>()

  constructor(deps: HttpStreamsDeps) {
    this.#deps = deps
  }

  /** Answers with the stream of an existing task. */
  follow(id: TaskId, { since, logs, format, onEnd }: HttpStreamOptions & Position, reply: FastifyReply): void {
    if (reply.request.method === 'HEAD') return endAtHead(format, reply, onEnd)
    const toText = (json: string, message: StreamMessage) =>
      format.format(json, message, { position: String(message.version), hasMany: false })
    const open = this.#begin(format, reply, toText)
    const stream = this.#deps.hub.attach(reply.request.principal, id, { since, logs }, open.sink)
    this.#tend(open, stream, onEnd, reply)
  }

  /**
   * Answers with the streams of a selection. For ids, the position is the version of each, in the order of the ids: a
   * client that reconnects with it misses nothing. For a filter there is no position: the stream starts with snapshots
   * again. A list starts with all its rows.
   */
  followMany(
    selection: Selection | undefined,
    { since, list, format, onEnd }: SelectionStreamOptions,
    reply: FastifyReply,
  ): void {
    if (reply.request.method === 'HEAD') return endAtHead(format, reply, onEnd)
    const versions = new Map<TaskId, number>(
      selection !== undefined && 'ids' in selection ? selection.ids.map((id) => [id, since[id] ?? 0]) : [],
    )
    const positionOf = () => [...versions.values()].join()
    const toText = (json: string, message: StreamMessage) => {
      if (versions.has(message.taskId)) versions.set(message.taskId, message.version)
      return format.format(json, message, { position: positionOf(), hasMany: true })
    }
    const open = this.#begin(format, reply, toText, { positionOf, onIdle: () => raw.write(format.idleHeartbeat) })
    const { sink, raw } = open
    const subscriptions = this.#deps.openSubscriptions({
      principal: reply.request.principal,
      sink,
      answer(message) {
        if (message.type === 'subscribed') raw.write(format.begin(message.tasks, message.missing ?? [], message.list))
        else raw.end() // PostgreSQL is away: the client reconnects by itself
      },
      onIdle: () => raw.end(),
    })
    this.#tend(open, subscriptions, onEnd, reply)
    const subscribe = async () => {
      if (list !== undefined) await subscriptions.subscribeToList('list', list)
      if (selection !== undefined) await subscriptions.subscribe({ type: 'subscribe', id: 'all', selection, since })
    }
    subscribe().catch((error: unknown) => cutOff(reply, error))
  }

  /**
   * Ends the open streams and tells their clients to reconnect. The hub does not know a stream that follows no task at
   * the moment.
   */
  stop(): void {
    for (const { sink } of this.#open) sink.close(CLOSE_CODES.restart, restartReason())
  }

  /** Sends the head. What is written to the sink is the body. */
  #begin(
    format: EventFormat,
    reply: FastifyReply,
    toText: (json: string, message: StreamMessage) => string,
    many?: { positionOf(): string; onIdle(): void },
  ): OpenStream {
    const raw = sendHead(format, reply)
    const opening = format.open(chooseRetryPause())
    if (opening !== '') raw.write(opening)
    raw.on('error', () => {})
    const sink: Sink & ListSink = {
      send(json, message) {
        const text = message === undefined ? '' : toText(json, message)
        if (text !== '') raw.write(text)
      },
      sendList: (json, message) => void raw.write(format.formatList(json, message, many?.positionOf() ?? '')),
      bufferedBytes: () => raw.writableLength,
      close(code, reason) {
        if (code === CLOSE_CODES.tooSlow) raw.destroy()
        else if (!raw.writableEnded)
          raw.end(code === CLOSE_CODES.restart ? format.comeBack(Number(/\d+/.exec(reason)?.[0])) : undefined)
      },
    }
    const open = { sink: this.#deps.beats.add(sink, many?.onIdle), raw }
    this.#open.add(open)
    return open
  }

  /** Passes on that the response has drained, and that it is over. */
  #tend(open: OpenStream, source: TaskStream, onEnd: () => void, reply: FastifyReply): void {
    const onDrain = guard(reply, () => source.drained())
    open.raw.on('drain', onDrain)
    whenOver(reply, () => {
      this.#open.delete(open)
      open.sink.stop()
      onEnd()
      source.stop()
    })
  }
}

/** From here on Fastify leaves the answer alone; the headers set by its hooks are sent with it. */
function sendHead({ contentType }: EventFormat, reply: FastifyReply): FastifyReply['raw'] {
  reply.hijack()
  const { raw } = reply
  reply.headers({ 'content-type': contentType, 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
  for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) raw.setHeader(name, value)
  raw.flushHeaders()
  return raw
}

function endAtHead(format: EventFormat, reply: FastifyReply, onEnd: () => void): void {
  sendHead(format, reply).end()
  onEnd()
}

/** Wraps a listener so that it cannot throw: an error ends its own stream, and not the process with all others. */
function guard(reply: Pick<FastifyReply, 'raw' | 'request'>, listener: () => void): () => void {
  return () => {
    try {
      listener()
    } catch (error) {
      cutOff(reply, error)
    }
  }
}

/** The client reconnects by itself. */
function cutOff({ raw, request }: Pick<FastifyReply, 'raw' | 'request'>, error: unknown): void {
  request.log.error(
    { err: error, requestId: request.id, path: request.url.split('?')[0] },
    'a stream failed and was cut off',
  )
  raw.destroy()
}

/**
 * Calls back once the stream is over: sent to its end, or its connection closed. That may happen before it starts, and
 * a response that waits behind another one on its connection does not report it, so both are checked.
 */
function whenOver({ raw, request }: FastifyReply, call: () => void): void {
  const connection = request.raw.socket
  const end = guard({ raw, request }, () => {
    raw.off('close', end)
    connection.off('close', end)
    call()
  })
  raw.once('close', end)
  connection.once('close', end)
  if (connection.destroyed) end()
}

/** @throws ProblemError `invalid_request` if it is not an id of this stream */
export function readLastEventId({ headers }: FastifyRequest, pattern: RegExp, what: string): string | undefined {
  const given = headers['last-event-id']
  if (given === undefined || given === '') return undefined
  if (typeof given === 'string' && pattern.test(given)) return given
  throw new ProblemError('invalid_request', `The header Last-Event-ID is not ${what}.`, [
    { pointer: '/last-event-id', detail: `must be ${what}`, fix: 'Send the id of the last event, or omit it.' },
  ])
}
