/**
 * One client's connection: which request is being answered, which ones wait, and how long the client may take.
 *
 * Pipelined requests are answered one after another. The next one starts when the previous answer has been passed to
 * the network completely. So a client that reads nothing makes the server hold only one answer, and nothing more is
 * read from a client whose requests are waiting. Time counts against the client until it has sent a whole request, but
 * not while the server works.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { ProblemCode } from '../../protocol/errors.js'
import type { Bodies } from '../bodies/body-budget.js'
import { toLastAnswer, toRawProblem } from '../problem.js'

export type Handler = (request: IncomingMessage, response: ServerResponse) => void

/** Why the server closed a connection. */
export type Offence = 'silent' | 'slow_head' | 'slow_body' | 'unread' | 'unread_memory' | 'pipelined' | 'too_many'

export interface ConnectionTimes {
  /** Separate limits for the first byte, the rest of the head, and the body; in milliseconds. */
  requestMs: number
  /** How long bytes may wait for a client that reads none of them, in milliseconds. */
  unreadMs: number
}

interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/** The callbacks of a connection to its owner. */
export interface ConnectionHost {
  handler: Handler
  bodies: Pick<Bodies, 'has' | 'isUpload'>
  /** A request starts, or the next one is awaited. */
  onTurn(connection: Connection): void
  /** The number of requests waiting behind another one has changed by this much. */
  onQueue(connection: Connection, change: number): void
}

export class Connection {
  readonly socket: Socket
  readonly #host: ConnectionHost
  readonly #queue: Exchange[] = []
  #current: Exchange | undefined
  /** The last request started, until its body is complete. */
  #received: IncomingMessage | undefined
  /** When the client's turn began. */
  #turnAtMs: number
  /** When the first byte of a head was noticed. */
  #headAtMs: number | undefined
  #bytesAtTurn = 0
  #isFirst = true
  #isUpgraded = false
  #isPaused = false
  /** The answer to invalid bytes, sent once all requests are answered, because what followed them is not a request. */
  #refusal: { text: string; sentAtMs?: number } | undefined
  #backlog: { sinceMs: number; movedAtMs: number; sentBytes: number; queuedBytes: number } | undefined

  constructor(socket: Socket, host: ConnectionHost, nowMs: number) {
    this.socket = socket
    this.#host = host
    this.#turnAtMs = nowMs
  }

  /** Whether a request that arrives now would be the only one. */
  get isFree(): boolean {
    return this.#current === undefined && this.#queue.length === 0
  }

  get queuedCount(): number {
    return this.#queue.length
  }

  /** Whether the client owes bytes: of the next request, or of a body. */
  get isAwaitingClient(): boolean {
    const request = this.#current?.request
    return !this.#isUpgraded && (request === undefined || (!request.complete && !this.#host.bodies.isUpload(request)))
  }

  /** When bytes began to wait for this client; undefined while none do. */
  get backlogSinceMs(): number | undefined {
    return this.#backlog?.sinceMs
  }

  /** Starts a request, or queues it behind those that are not answered. */
  accept(request: IncomingMessage, response: ServerResponse): void {
    const exchange = { request, response }
    if (this.isFree) return this.#begin(exchange)
    this.#queue.push(exchange)
    // Repeated for each request: the reader of the previous body makes Node resume reading.
    this.#isPaused = true
    this.socket.pause()
    this.#host.onQueue(this, 1)
  }

  /** Answers bytes that are not a request, in their turn. Nothing after them is read as a request. */
  refuse(code: ProblemCode, detail: string): void {
    if (this.#refusal !== undefined) return
    this.#refusal = { text: toRawProblem(code, detail) }
    if (this.#queue.at(-1)?.request.complete === false) {
      this.#queue.pop()
      this.#host.onQueue(this, -1)
    }
    if (this.#current === undefined) this.#sendRefusal(this.#refusal)
    // Its body is broken: the request ends with it, and its handler sees a disconnect.
    else if (!this.#current.request.complete) answerLast(this.#current.response, code, detail)
  }

  /** From here on it is a WebSocket, which has its own time limits. */
  upgrade(): void {
    this.#isUpgraded = true
  }

  /** Requests that have not started never will. */
  forget(): void {
    const count = this.#queue.length
    this.#queue.length = 0
    if (count > 0) this.#host.onQueue(this, -count)
  }

  /** What this client does wrong, if anything. Call it now and then. */
  findOffence(nowMs: number, { requestMs, unreadMs }: ConnectionTimes): Offence | undefined {
    if (this.#isStuck(nowMs, unreadMs)) return 'unread'
    if (this.#isUpgraded) return undefined
    if (this.#refusal?.sentAtMs !== undefined) return nowMs - this.#refusal.sentAtMs > requestMs ? 'silent' : undefined
    if (this.#received?.complete === false)
      return this.#isBodyLate(this.#received, nowMs, requestMs) ? 'slow_body' : undefined
    this.#received = undefined
    if (this.#current !== undefined) return undefined
    // Bytes read together with the previous request are not counted: Node closes a connection that then stays idle.
    if (this.#headAtMs === undefined && this.socket.bytesRead > this.#bytesAtTurn)
      this.#headAtMs = this.#isFirst ? this.#turnAtMs : nowMs
    if (this.#headAtMs !== undefined) return nowMs - this.#headAtMs > requestMs ? 'slow_head' : undefined
    return this.#isFirst && nowMs - this.#turnAtMs > requestMs ? 'silent' : undefined
  }

  #begin(exchange: Exchange): void {
    const { request, response } = exchange
    this.#current = exchange
    this.#received = request.complete ? undefined : request
    this.#turnAtMs = performance.now()
    this.#isFirst = false
    this.#host.onTurn(this)
    response.once('close', () => this.#finish(exchange))
    this.#host.handler(request, response)
  }

  #finish(exchange: Exchange): void {
    if (this.#current !== exchange) return
    this.#current = undefined
    // After an answer with `Connection: close`, pipelined requests behind it do not start: they could not be answered.
    if (this.socket.destroyed || this.socket.writableEnded) return this.forget()
    const next = this.#queue.shift()
    if (next === undefined && this.#refusal !== undefined) this.#sendRefusal(this.#refusal)
    else if (next === undefined) this.#awaitRequest()
    else {
      this.#host.onQueue(this, -1)
      this.#begin(next)
    }
    if (this.#isPaused && this.#queue.length === 0) {
      this.#isPaused = false
      this.socket.resume()
    }
  }

  /**
   * Further bytes from the client are read and dropped: closing at once would take the answer away from it (RFC 9112,
   * section 9.6).
   */
  #sendRefusal(refusal: { text: string; sentAtMs?: number }): void {
    refusal.sentAtMs = performance.now()
    this.socket.end(refusal.text)
  }

  #awaitRequest(): void {
    if (this.#received === undefined || this.#received.complete) this.#turnAtMs = performance.now()
    this.#headAtMs = undefined
    this.#bytesAtTurn = this.socket.bytesRead
    this.#host.onTurn(this)
  }

  /** A body that is not read, or that was refused: the rest of it has the time limit of a body. */
  #isBodyLate(request: IncomingMessage, nowMs: number, requestMs: number): boolean {
    if (this.#host.bodies.has(request)) this.#turnAtMs = nowMs
    return nowMs - this.#turnAtMs > requestMs
  }

  /** Whether bytes have waited this long without any of them being read. */
  #isStuck(nowMs: number, unreadMs: number): boolean {
    const { socket } = this
    if (socket.writableLength === 0) {
      this.#backlog = undefined
      return false
    }
    const sentBytes = socket.bytesWritten - socket.writableLength
    const queuedBytes = bytesInWrite(socket)
    const before = this.#backlog
    if (before === undefined) this.#backlog = { sinceMs: nowMs, movedAtMs: nowMs, sentBytes, queuedBytes }
    else if (before.sentBytes !== sentBytes || before.queuedBytes !== queuedBytes)
      this.#backlog = { ...before, movedAtMs: nowMs, sentBytes, queuedBytes }
    return nowMs - (this.#backlog?.movedAtMs ?? nowMs) > unreadMs
  }
}

/**
 * Answers a request whose handler waits for a body that will not arrive. If another answer has already started, its
 * connection is only closed.
 */
function answerLast(response: ServerResponse, code: ProblemCode, detail: string): void {
  const { status, headers, body } = toLastAnswer(code, detail)
  if (response.headersSent) response.destroy()
  else response.writeHead(status, headers).end(body)
}

/**
 * What is left of the current write. A large answer is one write, so `writableLength` stays the same until all of it
 * has been read; Node's own socket time-out uses this number for the same reason.
 */
function bytesInWrite(socket: Socket): number {
  return (socket as unknown as { _handle?: { writeQueueSize?: number } | null })._handle?.writeQueueSize ?? 0
}
