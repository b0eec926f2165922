/**
 * The bodies that this process is receiving: how much memory they use, and how long each may take.
 *
 * A body that is kept in memory (JSON) must be complete within a time. One that is passed on while it arrives (an
 * upload) must only keep a rate. Otherwise both are refused with 408.
 *
 * The memory of all bodies together is bounded. Beyond the bound, those that have held the most for the longest are
 * refused with 503: a stalled body gives way to one that is arriving. A small body that arrived whole is never refused.
 */
import type { IncomingMessage } from 'node:http'
import { ProblemError } from '../problem.js'
import { BlockPool } from './body-blocks.js'

export interface BodyLimits {
  /** For a body that is kept in memory, in milliseconds. */
  requestMs: number
  /** The maximum memory of bodies together, in bytes. */
  maxBodyMemoryBytes: number
  /** An upload must deliver `minUploadBytes` in every `uploadWindowMs`. */
  uploadWindowMs: number
  minUploadBytes: number
}

export interface Body {
  /** Counts bytes that arrived and are kept. May refuse this body, or others. */
  hold(bytes: number): void
  /** The body is complete. It has no time limit any more, and its memory is kept until `release`. */
  complete(): void
  /** Idempotent. */
  release(): void
}

/** Answers a refused body. Called once. */
export type Refuse = (problem: ProblemError) => void

interface Entry {
  readonly request: IncomingMessage
  readonly refuse: Refuse
  readonly startedAtMs: number
  heldBytes: number
  isComplete: boolean
}

interface Upload {
  readonly refuse: Refuse
  windowEndsAtMs: number
  receivedBytes: number
}

/**
 * When bodies are refused for memory, this fraction of the bound is freed at once, instead of a little for each packet.
 */
const ROOM_FRACTION = 0.1

export class Bodies {
  readonly blocks = new BlockPool()
  readonly #limits: BodyLimits
  readonly #entries = new Map<IncomingMessage, Entry>()
  readonly #uploads = new Map<IncomingMessage, Upload>()
  #heldBytes = 0

  constructor(limits: BodyLimits) {
    this.#limits = limits
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  get count(): number {
    return this.#entries.size + this.#uploads.size
  }

  /** Whether the body of this request is being received and timed here. */
  has(request: IncomingMessage): boolean {
    return this.#entries.has(request) || this.#uploads.has(request)
  }

  isUpload(request: IncomingMessage): boolean {
    return this.#uploads.has(request)
  }

  /** A body that is kept in memory. */
  open(request: IncomingMessage, refuse: Refuse): Body {
    const entry: Entry = { request, refuse, startedAtMs: performance.now(), heldBytes: 0, isComplete: false }
    this.#entries.set(request, entry)
    return {
      hold: (bytes) => this.#hold(entry, bytes),
      complete: () => void (entry.isComplete = true),
      release: () => this.#release(entry),
    }
  }

  /** A body that is passed on while it arrives; each call of `count` reports bytes that were passed on. */
  openUpload(request: IncomingMessage, refuse: Refuse): { count(bytes: number): void; close(): void } {
    const upload: Upload = { refuse, windowEndsAtMs: performance.now() + this.#limits.uploadWindowMs, receivedBytes: 0 }
    this.#uploads.set(request, upload)
    return {
      count: (bytes) => void (upload.receivedBytes += bytes),
      close: () => void this.#uploads.delete(request),
    }
  }

  /** Refuses bodies that take too long. Call it now and then. */
  sweep(nowMs: number): void {
    const { requestMs, uploadWindowMs, minUploadBytes } = this.#limits
    this.blocks.trim()
    for (const entry of this.#entries.values()) {
      if (entry.isComplete || nowMs - entry.startedAtMs <= requestMs) continue
      this.#refuse(entry, new ProblemError('request_timeout', `The body did not arrive within ${requestMs / 1_000} s.`))
    }
    for (const [request, upload] of this.#uploads) {
      if (nowMs < upload.windowEndsAtMs) continue
      // Bytes waiting here arrived in time: in that case the store is slow.
      const isSlow = upload.receivedBytes < minUploadBytes && request.readableLength === 0
      upload.windowEndsAtMs = nowMs + uploadWindowMs
      upload.receivedBytes = 0
      if (!isSlow) continue
      this.#uploads.delete(request)
      upload.refuse(
        new ProblemError(
          'request_timeout',
          `The upload delivered fewer than ${minUploadBytes} bytes in ${uploadWindowMs / 1_000} s.`,
        ),
      )
    }
  }

  #hold(entry: Entry, bytes: number): void {
    if (!this.#entries.has(entry.request)) return
    entry.heldBytes += bytes
    this.#heldBytes += bytes
    if (this.#heldBytes > this.#limits.maxBodyMemoryBytes) this.#makeRoom()
  }

  #makeRoom(): void {
    const nowMs = performance.now()
    const rent = ({ heldBytes, startedAtMs }: Entry) => heldBytes * (nowMs - startedAtMs + 1)
    const incomplete = [...this.#entries.values()]
      .filter(({ isComplete }) => !isComplete)
      .sort((a, b) => rent(b) - rent(a))
    for (const entry of incomplete) {
      if (this.#heldBytes <= this.#limits.maxBodyMemoryBytes * (1 - ROOM_FRACTION)) return
      this.#refuse(
        entry,
        new ProblemError('overloaded', 'This process has reached its memory limit for unfinished requests.'),
      )
    }
  }

  #refuse(entry: Entry, problem: ProblemError): void {
    this.#release(entry)
    entry.refuse(problem)
  }

  #release(entry: Entry): void {
    if (!this.#entries.delete(entry.request)) return
    this.#heldBytes -= entry.heldBytes
  }
}
