/**
 * `/ws/tasks`: one socket for many tasks. The client sends requests in JSON, and each is answered by its id (see
 * `protocol/subscription.ts`); `live/subscriptions.ts` decides which tasks are followed and which messages are sent.
 *
 * Text that is not JSON or larger than a request can be (see `FRAME_BOUNDS`), or a request without an id, closes the
 * socket with 4500, because an answer could not be matched to it. More than `MAX_REQUESTS` in ten seconds close it with
 * 4029. After that nothing is read.
 */
import type { WebSocket } from '@fastify/websocket'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { createChecker, type Checker } from '../../definitions/schema-errors.js'
import type { Subscriptions, SubscriptionsDeps } from '../../live/subscriptions.js'
import { linkTo } from '../../protocol/base-path.js'
import type { FieldError } from '../../protocol/errors.js'
import { CLOSE_CODES, type IdleHeartbeat } from '../../protocol/stream.js'
import {
  MAX_REQUEST_ID_LENGTH,
  PingRequest,
  SubscribeByFit,
  SubscribeById,
  SubscribeToList,
  UnsubscribeRequest,
  type SocketAnswer,
  type SocketRequest,
} from '../../protocol/subscription.js'
import { FRAME_BOUNDS, readJson } from '../bodies/json-text.js'
import { ProblemError } from '../problem.js'
import { readFilter, readListRequest } from '../routes/list-query.js'
import { NO_QUERY } from '../validation.js'
import type { Beats } from './beats.js'
import { startHeartbeat } from './heartbeat.js'
import { describeFrame, guardSocket, type SocketGuard } from './socket-guard.js'
import { createSocketSink } from './socket-sink.js'
import type { StreamLimits } from './stream-limits.js'

const MAX_REQUESTS = 50
const REQUESTS_PERIOD_MS = 10_000
/** The most fields of an object in a request; `since` has one for each task. */
const MAX_FIELDS = 50

/** Opens the subscriptions of one connection. */
export type OpenSubscriptions = (
  client: Pick<SubscriptionsDeps, 'principal' | 'sink' | 'answer' | 'onIdle'>,
) => Subscriptions

export interface SubscriptionSocketDeps {
  openSubscriptions: OpenSubscriptions
  limits: StreamLimits
  beats: Beats
  /** Throws for a request that is not a WebSocket handshake. */
  assertUpgrade(request: FastifyRequest, reply: FastifyReply): Promise<void>
}

/** A request as received: all that is certain is that it is an object. */
type UnknownRequest = Readonly<Record<string, unknown>>

/** Registers the route, in the scope where WebSockets are registered. */
export function registerSubscriptionSocket(
  app: FastifyInstance,
  { openSubscriptions, limits, beats, assertUpgrade }: SubscriptionSocketDeps,
): void {
  const heartbeat = startHeartbeat({})
  const check = createRequestChecker()
  app.addHook('preClose', async () => heartbeat.stop())

  app.get(
    '/tasks',
    {
      websocket: true,
      schema: { hide: true, querystring: NO_QUERY },
      preValidation: assertUpgrade,
      async preHandler(request) {
        limits.assertRoom(request)
      },
    },
    (socket, request) => {
      heartbeat.add(socket)
      const guarded = guardSocket(socket, request)
      const connection = createSocketSink(
        socket,
        request.raw.socket,
        guarded.guard('drain', () => subscriptions.drained()),
      )
      const sink = beats.add(connection, () =>
        connection.send(JSON.stringify({ type: 'heartbeat' } satisfies IdleHeartbeat)),
      )
      const subscriptions = openSubscriptions({
        principal: request.principal,
        sink,
        answer: (message) => socket.send(JSON.stringify(message)),
      })
      const release = limits.open(request)
      const requests = new SocketRequests({ socket, subscriptions, guarded, check })
      const hear = (data: Buffer) => requests.take(data.toString())
      socket.on('message', guarded.guard<[Buffer, boolean]>('message', hear, describeFrame))
      socket.once(
        'close',
        guarded.guard('close', () => {
          release()
          sink.stop()
          subscriptions.stop()
        }),
      )
    },
  )
}

interface SocketRequestsDeps {
  socket: WebSocket
  subscriptions: Subscriptions
  guarded: SocketGuard
  check(request: UnknownRequest): FieldError[]
}

/** The requests of one socket. */
class SocketRequests {
  readonly #deps: SocketRequestsDeps
  readonly #isAllowed = createRateLimit()

  constructor(deps: SocketRequestsDeps) {
    this.#deps = deps
  }

  take(text: string): void {
    const { socket } = this.#deps
    // Messages sent before the client has learned of the close.
    if (socket.readyState !== socket.OPEN) return
    if (this.#isAllowed()) this.#answer(text)
    else socket.close(CLOSE_CODES.tooManyMessages, `more than ${MAX_REQUESTS} requests in ${REQUESTS_PERIOD_MS} ms`)
  }

  #answer(text: string): void {
    const { socket, check } = this.#deps
    const request = parse(text)
    const id = request?.['id']
    if (request === undefined || typeof id !== 'string')
      return socket.close(CLOSE_CODES.protocolError, 'a request is a JSON object with type and id')
    const errors = check(request)
    const [first] = errors
    if (first !== undefined) {
      const detail = `The request is invalid: ${first.pointer || 'it'} ${first.detail}. See ${linkTo('/asyncapi.json')}.`
      return this.#refuse(id, detail, errors)
    }
    try {
      this.#carryOut(request as SocketRequest)
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error
      const located = (error.errors ?? []).map((one) => ({ ...one, pointer: locationOf(request, one.pointer) }))
      this.#refuse(id, error.message, located)
    }
  }

  #refuse(id: string, detail: string, errors: FieldError[]): void {
    this.#send({
      type: 'refused',
      id: [...id].slice(0, MAX_REQUEST_ID_LENGTH).join('') || '?',
      code: 'invalid_request',
      detail,
      errors,
    })
  }

  #carryOut(request: SocketRequest): void {
    const { subscriptions, guarded } = this.#deps
    switch (request.type) {
      case 'subscribe':
        subscribe(subscriptions, request).catch((error: unknown) => guarded.fail('subscribe', error))
        return
      case 'unsubscribe':
        return subscriptions.unsubscribe(request.id)
      case 'ping':
        this.#send({ type: 'pong', id: request.id })
    }
  }

  #send(answer: SocketAnswer): void {
    this.#deps.socket.send(JSON.stringify(answer))
  }
}

/** @throws ProblemError for rules that a schema cannot express, before any subscription starts */
function subscribe(subscriptions: Subscriptions, request: SocketRequest & { type: 'subscribe' }): Promise<void> {
  if ('list' in request) return subscriptions.subscribeToList(request.id, readListRequest(request.list))
  const { selection } = request
  return subscriptions.subscribe('ids' in selection ? request : { ...request, selection: readFilter(selection) })
}

/**
 * The errors of a request, by the schema of the kind it seems to be: by the union of all kinds, every field would be
 * wrong in one of them.
 */
function createRequestChecker(): (request: UnknownRequest) => FieldError[] {
  const byId = createChecker(SubscribeById)
  const toList = createChecker(SubscribeToList)
  const checkers = new Map<unknown, Checker>([
    ['subscribe', createChecker(SubscribeByFit)],
    ['unsubscribe', createChecker(UnsubscribeRequest)],
    ['ping', createChecker(PingRequest)],
  ])
  return (request) => {
    const checker = isByIds(request) ? byId : isOfList(request) ? toList : checkers.get(request['type'])
    return (
      checker?.check(request) ?? [{ pointer: '/type', detail: `must be one of ${[...checkers.keys()].join(', ')}` }]
    )
  }
}

/** The location in the request of a query field that an error names. */
function locationOf(request: UnknownRequest, pointer: string): string {
  if (!isOfList(request)) return `/selection${pointer}`
  return pointer === '/cursor' ? '/list/before' : `/list/filter${pointer}`
}

function isOfList(request: UnknownRequest): boolean {
  return request['type'] === 'subscribe' && Object.hasOwn(request, 'list')
}

function isByIds({ type, selection }: UnknownRequest): boolean {
  return type === 'subscribe' && typeof selection === 'object' && selection !== null && Object.hasOwn(selection, 'ids')
}

/** Whether one more request is allowed now. */
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

/** Whether an object in it has more fields than any request: to describe hundreds of unknown ones would take long. */
function isWide(value: object): boolean {
  const fields = Object.entries(value)
  return (
    fields.length > MAX_FIELDS ||
    fields.some(([name, inner]) => name !== 'since' && isObject(inner) && !Array.isArray(inner) && isWide(inner))
  )
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

/** Undefined if it is not a JSON object, or larger than a request can be. */
function parse(text: string): UnknownRequest | undefined {
  try {
    const value = readJson(text, FRAME_BOUNDS)
    return typeof value === 'object' && value !== null && !isWide(value) ? (value as UnknownRequest) : undefined
  } catch {
    return undefined
  }
}
