/**
 * The memory for unfinished bodies: blocks of one size that are reused.
 *
 * Separate buffers per body would be freed by the garbage collector at a time of its choosing: under pressure the
 * process would hold as much memory again in bodies that were refused long ago. A block is returned when its body is
 * refused or complete.
 */
export const BLOCK_BYTES = 64 * 1024
/** The first size of a body, so that a small one that arrives in pieces costs little. */
const FIRST_BYTES = 1024

export class BlockPool {
  #free: Buffer[] = []

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES)
  }

  give(block: Buffer): void {
    this.#free.push(block)
  }

  /** Frees half of the unused blocks. Call it now and then. */
  trim(): void {
    this.#free.length = Math.floor(this.#free.length / 2)
  }

  /** The unused blocks. */
  get freeCount(): number {
    return this.#free.length
  }
}

/** One incoming body. */
export class GatheredBody {
  readonly #pool: BlockPool
  readonly #full: Buffer[] = []
  #last: Buffer = Buffer.alloc(0)
  #lastLength = 0

  constructor(pool: BlockPool) {
    this.#pool = pool
  }

  /** Copies the chunk. @returns how many bytes more it holds now */
  append(chunk: Buffer): number {
    let grownBytes = 0
    for (let at = 0; at < chunk.length;) {
      if (this.#lastLength === this.#last.length) grownBytes += this.#grow(chunk.length - at)
      const copied = chunk.copy(this.#last, this.#lastLength, at)
      this.#lastLength += copied
      at += copied
    }
    return grownBytes
  }

  /** The whole body, in a buffer of its own. */
  join(): Buffer {
    return Buffer.concat([...this.#full, this.#last.subarray(0, this.#lastLength)])
  }

  /** Returns the blocks. The body cannot be used after that. */
  clear(): void {
    for (const block of this.#full) this.#pool.give(block)
    if (this.#last.length === BLOCK_BYTES) this.#pool.give(this.#last)
    this.#full.length = 0
    this.#last = Buffer.alloc(0)
    this.#lastLength = 0
  }

  #grow(wantedBytes: number): number {
    const { length } = this.#last
    if (length === BLOCK_BYTES) this.#full.push(this.#last)
    const isBlock = length === BLOCK_BYTES || length + wantedBytes > BLOCK_BYTES / 2
    const grown = isBlock
      ? this.#pool.take()
      : Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, 2 * length, length + wantedBytes))
    if (length === BLOCK_BYTES) this.#lastLength = 0
    else this.#last.copy(grown)
    this.#last = grown
    return length === BLOCK_BYTES ? BLOCK_BYTES : grown.length - length
  }
}
