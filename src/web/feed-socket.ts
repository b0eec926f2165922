/**
 * `/ws/tasks`: one socket for many tasks. The client asks in JSON, and each request is answered by its id (see
 * `protocol/feed.ts`); what it follows, and what it is told, is decided by `live/feed.ts`.
 *
 * Text that is no JSON, or a request without an id, closes with 4500: nobody could tell what the answer answers. More than
 * `MAX_REQUESTS` in ten seconds close with 4029.
 */
import type { WebSocket } from '@fastify/websocket'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Feed } from '../live/feed.js'
import type { FieldError } from '../protocol/errors.js'
import { PingRequest, SubscribeByFit, SubscribeById, UnsubscribeRequest, type FeedAnswer, type FeedRequest } from '../protocol/feed.js'
import { CLOSE_CODES } from '../protocol/stream.js'
import { createChecker } from '../tasks/schema-errors.js'
import type { Feeds } from './feeds.js'
import { startHeartbeat } from './heartbeat.js'
import { createSocketSink } from './socket-sink.js'
import type { StreamLimits } from './stream-limits.js'

const MAX_REQUESTS = 50
const REQUESTS_PERIOD_MS = 10_000

export interface FeedSocketDeps {
  feeds: Feeds
  limits: StreamLimits
  /** Throws for a plain request. */
  assertUpgrade(request: FastifyRequest): Promise<void>
}

/** Registers the route, in the scope where WebSockets are registered. */
export function registerFeedSocket(app: FastifyInstance, { feeds, limits, assertUpgrade }: FeedSocketDeps): void {
  const heartbeat = startHeartbeat({})
  const check = createRequestChecker()
  app.addHook('preClose', async () => heartbeat.stop())

  app.get(
    '/tasks',
    {
      websocket: true,
      schema: { hide: true },
      preValidation: assertUpgrade,
      async preHandler(request) {
        limits.assertRoom(request)
      },
    },
    (socket, request) => {
      heartbeat.add(socket)
      const feed = feeds.open({
        sink: createSocketSink(socket, request.raw.socket, () => feed.drained()),
        answer: (message) => socket.send(JSON.stringify(message)),
      })
      const release = limits.open(request)
      const mayAsk = createRateLimit()
      socket.on('message', (data: Buffer) => {
        if (mayAsk()) answer(feed, socket, data.toString())
        else socket.close(CLOSE_CODES.tooManyMessages, `more than ${MAX_REQUESTS} requests in ${REQUESTS_PERIOD_MS} ms`)
      })
      socket.once('close', () => {
        feed.stop()
        release()
      })
    },
  )

  function answer(feed: Feed, socket: WebSocket, text: string): void {
    const request = parse(text)
    const id = (request as { id?: unknown } | null | undefined)?.id
    if (typeof id !== 'string') return socket.close(CLOSE_CODES.protocolError, 'a request is a JSON object with type and id')
    const errors = check(request as Partial<FeedRequest>)
    if (errors.length > 0) {
      const detail = 'The request does not fit; see /asyncapi.json.'
      const refused: FeedAnswer = { type: 'refused', id: id.slice(0, 64) || '?', code: 'invalid_request', detail, errors }
      socket.send(JSON.stringify(refused))
      return
    }
    take(feed, socket, request as FeedRequest)
  }

  function take(feed: Feed, socket: WebSocket, request: FeedRequest): void {
    switch (request.type) {
      case 'subscribe':
        return void feed.subscribe(request)
      case 'unsubscribe':
        return feed.unsubscribe(request.id)
      case 'ping':
        socket.send(JSON.stringify({ type: 'pong', id: request.id } satisfies FeedAnswer))
    }
  }
}

/** Says what is wrong with a request, of the kind that it means to be: of the union of all, every field would be wrong in some. */
function createRequestChecker(): (request: Partial<FeedRequest>) => FieldError[] {
  const checkers = {
    subscribe: createChecker(SubscribeByFit),
    unsubscribe: createChecker(UnsubscribeRequest),
    ping: createChecker(PingRequest),
  }
  const byId = createChecker(SubscribeById)
  return (request) => {
    if (request.type === undefined || !Object.hasOwn(checkers, request.type)) {
      return [{ pointer: '/type', detail: `must be one of ${Object.keys(checkers).join(', ')}` }]
    }
    return (isByIds(request) ? byId : checkers[request.type]).check(request)
  }
}

function isByIds(request: { type?: string; selection?: unknown }): boolean {
  const { type, selection } = request
  return type === 'subscribe' && typeof selection === 'object' && selection !== null && 'ids' in selection
}

/** Says whether one more is allowed now. */
function createRateLimit(): () => boolean {
  let periodEndsAtMs = 0
  let count = 0
  return () => {
    const nowMs = performance.now()
    if (nowMs >= periodEndsAtMs) {
      periodEndsAtMs = nowMs + REQUESTS_PERIOD_MS
      count = 0
    }
    count += 1
    return count <= MAX_REQUESTS
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
