/**
 * All connections of a web process, and what bounds them together.
 *
 * - Their number: over `maxConnections`, the one that has owed the server bytes for longest is dropped.
 * - Their time: what `connection.ts` and `body-budget.ts` say, found by a sweep every `sweepMs`.
 * - The bytes of answers that clients do not take: over `maxUnreadMemoryBytes`, those that have waited longest are dropped.
 * - Requests that wait behind others: over `maxPipelined` on one connection, it is dropped; over `maxPipelinedTotal`, the
 *   connection with the most of them.
 *
 * A connection that is dropped is reset: what its client did not take would stay in the kernel's memory otherwise.
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
  /** Connections open at the same time, streams among them. */
  maxConnections: number
  /** How long a connection on which everything is answered is kept, in milliseconds. */
  keepAliveMs: number
  /** What unread answers may hold together, in bytes. */
  maxUnreadMemoryBytes: number
  /** Requests of one connection that may wait for the one before them. */
  maxPipelined: number
  /** Requests of all connections that may. */
  maxPipelinedTotal: number
  /** How often connections are looked at, in milliseconds. */
  sweepMs: number
}

export const DEFAULT_LIMITS: ConnectionLimits = {
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

/** What is held now, for tests and for the log. */
export interface ConnectionCounts {
  connections: number
  /** Requests that wait for the one before them. */
  pipelined: number
  /** Bodies under way, and the bytes of those in memory. */
  bodies: number
  bodyBytes: number
  /** Bytes of answers that clients have not taken. */
  unreadBytes: number
}

/** @param overrides for what operators have no say in */
export function openConnections(config: WebConfig, log: FastifyBaseLogger, overrides: Partial<ConnectionLimits> = {}): Connections {
  const { maxConnections, maxUnreadMemoryBytes, maxBodyMemoryBytes, requestTimeoutSeconds, keepAliveSeconds } = config
  const limits = { maxConnections, maxUnreadMemoryBytes, maxBodyMemoryBytes, requestMs: requestTimeoutSeconds * 1_000, keepAliveMs: keepAliveSeconds * 1_000 }
  return new Connections({ ...limits, ...overrides }, log)
}

export class Connections {
  readonly bodies: Bodies
  readonly #limits: ConnectionLimits
  readonly #log: FastifyBaseLogger
  readonly #open = new Map<Socket, Connection>()
  /** Those that may owe bytes, beginning with the one whose turn began first. */
  readonly #awaited = new Set<Connection>()
  readonly #timer: NodeJS.Timeout
  #queuedCount = 0
  #dropped: Partial<Record<Offence, number>> = {}

  constructor(limits: Partial<ConnectionLimits>, log: FastifyBaseLogger) {
    this.#limits = { ...DEFAULT_LIMITS, ...limits }
    this.#log = log
    this.bodies = new Bodies(this.#limits)
    // After what has come in meanwhile was read: this process may have been busy for longer than clients may take.
    this.#timer = setInterval(() => setImmediate(() => this.#sweep()), this.#limits.sweepMs).unref()
  }

  /** A server whose connections are bounded here. */
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
    // Else Node answers it, with an empty body.
    server.on('checkExpectation', (request: WebRequest, response: ServerResponse) => {
      request.isExpectationUnknown = true
      this.#accept(request, response)
    })
    server.on('upgrade', ({ socket }: IncomingMessage) => this.#upgrade(socket))
    return server
  }

  counts(): ConnectionCounts {
    const { count: bodies, heldBytes: bodyBytes } = this.bodies
    return { connections: this.#open.size, pipelined: this.#queuedCount, bodies, bodyBytes, unreadBytes: this.#countUnread() }
  }

  /** Answers bytes that are no HTTP request, after the requests before them, and closes the connection. */
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
    // One whose upgrade was ignored is handed to the server again.
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
    // Else the connection was dropped, and this is the rest of what came in one packet.
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
      // It comes back when its request is answered.
      this.#awaited.delete(connection)
    }
  }

  #countQueued(connection: Connection, change: number): void {
    const { maxPipelined, maxPipelinedTotal } = this.#limits
    this.#queuedCount += change
    if (change < 0) return
    if (connection.queuedCount > maxPipelined) return this.#drop(connection, 'pipelined')
    if (this.#queuedCount <= maxPipelinedTotal) return
    this.#drop([...this.#open.values()].reduce((one, other) => (other.queuedCount > one.queuedCount ? other : one)), 'pipelined')
  }

  #sweep(): void {
    const nowMs = performance.now()
    this.bodies.sweep(nowMs)
    for (const connection of this.#open.values()) {
      const offence = connection.findOffence(nowMs, this.#limits)
      if (offence !== undefined) this.#drop(connection, offence)
    }
    this.#boundUnread()
    if (Object.keys(this.#dropped).length > 0) this.#log.info({ dropped: this.#dropped, ...this.counts() }, 'connections were closed for what their clients did or left out')
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
    if (offence === 'slow_head') socket.write(toRawProblem('request_timeout', 'The head of the request did not come in time.'))
    if (offence === 'slow_head' || offence === 'silent') socket.destroySoon()
    else socket.resetAndDestroy()
  }
}
