/**
 * All connections of a web process, and their common limits.
 *
 * - Their number: above `maxConnections`, the one that has owed the server bytes the longest is dropped.
 * - Their time: the limits in `connection.ts` and `body-budget.ts`, checked by a sweep every `sweepMs`.
 * - Unread bytes of answers: above `maxUnreadMemoryBytes`, the connections that have waited longest are dropped.
 * - Waiting requests: a connection with more than `maxPipelined` is dropped; above `maxPipelinedTotal`, the connection
 *   with the most is.
 *
 * A dropped connection is reset: otherwise its unread bytes would stay in the kernel's memory.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'
import type { WebConfig } from '../../config.js'
import { MAX_UNREAD_MS } from '../../protocol/limits.js'
import { Bodies, type BodyLimits } from '../bodies/body-budget.js'
import { toRawProblem } from '../problem.js'
import { Connection, type ConnectionHost, type ConnectionTimes, type Handler, type Offence } from './connection.js'
import { createHttpServer, type WebRequest } from './http-server.js'
import { describeRefusal, type ClientError } from './refused-bytes.js'

export interface ConnectionLimits extends ConnectionTimes, BodyLimits {
  /** Connections open at the same time, including streams. */
  maxConnections: number
  /** How long a connection without unanswered requests is kept, in milliseconds. */
  keepAliveMs: number
  /** The maximum memory of unread answers together, in bytes. */
  maxUnreadMemoryBytes: number
  /** How many requests of one connection may wait for the previous one. */
  maxPipelined: number
  /** How many requests of all connections may wait. */
  maxPipelinedTotal: number
  /** The interval between two sweeps, in milliseconds. */
  sweepMs: number
}

const DEFAULT_LIMITS: ConnectionLimits = {
  maxConnections: 25_000,
  requestMs: 15_000,
  keepAliveMs: 30_000,
  unreadMs: MAX_UNREAD_MS,
  maxUnreadMemoryBytes: 64 * 1024 * 1024,
  maxBodyMemoryBytes: 64 * 1024 * 1024,
  uploadWindowMs: 15_000,
  minUploadBytes: 128 * 1024,
  maxPipelined: 256,
  maxPipelinedTotal: 10_000,
  sweepMs: 1_000,
}

/** The present counts, for tests and for the log. */
export interface ConnectionCounts {
  connections: number
  /** Requests that wait for the previous one. */
  pipelined: number
  /** Bodies in progress, and the bytes of those in memory. */
  bodies: number
  bodyBytes: number
  /** Bytes of answers that clients have not read. */
  unreadBytes: number
}

/** @param overrides limits that operators cannot configure */
export function openConnections(
  config: WebConfig,
  log: FastifyBaseLogger,
  overrides: Partial<ConnectionLimits> = {},
): Connections {
  const { maxConnections, maxUnreadMemoryBytes, maxBodyMemoryBytes, requestTimeoutSeconds, keepAliveSeconds } = config
  const limits = {
    maxConnections,
    maxUnreadMemoryBytes,
    maxBodyMemoryBytes,
    requestMs: requestTimeoutSeconds * 1_000,
    keepAliveMs: keepAliveSeconds * 1_000,
  }
  return new Connections({ ...limits, ...overrides }, log)
}

export class Connections {
  readonly bodies: Bodies
  readonly #limits: ConnectionLimits
  readonly #log: FastifyBaseLogger
  readonly #open = new Map<Socket, Connection>()
  /** Connections that may owe bytes, in the order in which their turns began. */
  readonly #awaited = new Set<Connection>()
  readonly #timer: NodeJS.Timeout
  #queuedCount = 0
  #dropped: Partial<Record<Offence, number>> = {}

  constructor(limits: Partial<ConnectionLimits>, log: FastifyBaseLogger) {
    this.#limits = { ...DEFAULT_LIMITS, ...limits }
    this.#log = log
    this.bodies = new Bodies(this.#limits)
    // After reading what arrived in the meantime: this process may have been busy for longer than clients may take.
    this.#timer = setInterval(() => setImmediate(() => this.#sweep()), this.#limits.sweepMs).unref()
  }

  /** A server whose connections are limited here. */
  createServer(handler: Handler): Server {
    const server = createHttpServer((socket) => this.#open.get(socket)?.isFree ?? false, this.#limits.keepAliveMs)
    const host: ConnectionHost = {
      handler,
      bodies: this.bodies,
      onTurn: (connection) => this.#moveToEnd(connection),
      onQueue: (connection, change) => this.#countQueued(connection, change),
    }
    server.on('connection', (socket: Socket) => this.#add(socket, host))
    server.on('request', (request: IncomingMessage, response: ServerResponse) => this.#accept(request, response))
    // Otherwise Node answers it, with an empty body.
    server.on('checkExpectation', (request: WebRequest, response: ServerResponse) => {
      request.isExpectationUnknown = true
      this.#accept(request, response)
    })
    server.on('upgrade', ({ socket }: IncomingMessage) => this.#upgrade(socket))
    return server
  }

  counts(): ConnectionCounts {
    const { count: bodies, heldBytes: bodyBytes } = this.bodies
    return {
      connections: this.#open.size,
      pipelined: this.#queuedCount,
      bodies,
      bodyBytes,
      unreadBytes: this.#countUnread(),
    }
  }

  /** Answers bytes that are not an HTTP request, after the requests before them, and closes the connection. */
  refuse(error: ClientError, socket: Socket): void {
    const connection = this.#open.get(socket)
    const refusal = describeRefusal(error)
    if (connection === undefined || refusal === undefined || !socket.writable) socket.destroy()
    else connection.refuse(refusal.code, refusal.detail)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #add(socket: Socket, host: ConnectionHost): void {
    // A connection whose upgrade was ignored is passed to the server again.
    if (!this.#open.has(socket)) socket.once('close', () => this.#remove(socket))
    const connection = new Connection(socket, host, performance.now())
    this.#remove(socket)
    this.#open.set(socket, connection)
    this.#awaited.add(connection)
    if (this.#open.size > this.#limits.maxConnections) this.#dropLongestAwaited()
  }

  #remove(socket: Socket): void {
    const connection = this.#open.get(socket)
    if (connection === undefined) return
    connection.forget()
    this.#awaited.delete(connection)
    this.#open.delete(socket)
  }

  #accept(request: WebRequest, response: ServerResponse): void {
    const connection = this.#open.get(request.socket)
    // Otherwise the connection was dropped, and this is the rest of the same packet.
    if (connection === undefined) return
    request.response = response
    if (request.isUpgradeAsked === true && !connection.isFree) response.shouldKeepAlive = false
    connection.accept(request, response)
  }

  #upgrade(socket: Socket): void {
    const connection = this.#open.get(socket)
    connection?.upgrade()
    if (connection !== undefined) this.#awaited.delete(connection)
  }

  #moveToEnd(connection: Connection): void {
    this.#awaited.delete(connection)
    this.#awaited.add(connection)
  }

  #dropLongestAwaited(): void {
    for (const connection of this.#awaited) {
      if (connection.isAwaitingClient) return this.#drop(connection, 'too_many')
      // It returns to the map when its request is answered.
      this.#awaited.delete(connection)
    }
  }

  #countQueued(connection: Connection, change: number): void {
    const { maxPipelined, maxPipelinedTotal } = this.#limits
    this.#queuedCount += change
    if (change < 0) return
    if (connection.queuedCount > maxPipelined) return this.#drop(connection, 'pipelined')
    if (this.#queuedCount <= maxPipelinedTotal) return
    this.#drop(
      [...this.#open.values()].reduce((one, other) => (other.queuedCount > one.queuedCount ? other : one)),
      'pipelined',
    )
  }

  #sweep(): void {
    const nowMs = performance.now()
    this.bodies.sweep(nowMs)
    for (const connection of this.#open.values()) {
      const offence = connection.findOffence(nowMs, this.#limits)
      if (offence !== undefined) this.#drop(connection, offence)
    }
    this.#boundUnread()
    if (Object.keys(this.#dropped).length > 0)
      this.#log.info({ dropped: this.#dropped, ...this.counts() }, 'closed connections whose clients exceeded a limit')
    this.#dropped = {}
  }

  #boundUnread(): void {
    const { maxUnreadMemoryBytes } = this.#limits
    let bytes = this.#countUnread()
    if (bytes <= maxUnreadMemoryBytes) return
    const oldestFirst = [...this.#open.values()]
      .filter(({ backlogSinceMs }) => backlogSinceMs !== undefined)
      .sort((a, b) => (a.backlogSinceMs ?? 0) - (b.backlogSinceMs ?? 0))
    for (const connection of oldestFirst) {
      if (bytes <= maxUnreadMemoryBytes) return
      bytes -= connection.socket.writableLength
      this.#drop(connection, 'unread_memory')
    }
  }

  #countUnread(): number {
    let bytes = 0
    for (const { socket } of this.#open.values()) bytes += socket.writableLength
    return bytes
  }

  #drop({ socket }: Connection, offence: Offence): void {
    this.#dropped[offence] = (this.#dropped[offence] ?? 0) + 1
    this.#remove(socket)
    if (offence === 'slow_head')
      socket.write(toRawProblem('request_timeout', 'The request headers did not arrive in time.'))
    if (offence === 'slow_head' || offence === 'silent') socket.destroySoon()
    else socket.resetAndDestroy()
  }
}
