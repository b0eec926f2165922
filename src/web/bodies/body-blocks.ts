/**
 * The memory that unfinished bodies are gathered in: blocks of one size, used again and again.
 *
 * A buffer of its own for each body would be freed by the garbage collector, at a time of its choosing: under pressure the process
 * would hold as much again in bodies that were refused long ago. A block goes back when its body is refused or complete.
 */
export const BLOCK_BYTES = 64 * 1024
/** A body begins with as much, so that a small one that comes in pieces costs little. */
const FIRST_BYTES = 1024

export class BlockPool {
  #free: Buffer[] = []

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES)
  }

  give(block: Buffer): void {
    this.#free.push(block)
  }

  /** Lets a half of the free blocks go. To be called every now and then. */
  trim(): void {
    this.#free.length = Math.floor(this.#free.length / 2)
  }

  /** Blocks that wait for use. */
  get freeCount(): number {
    return this.#free.length
  }
}

/** One body on its way in. */
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
    for (let at = 0; at < chunk.length; ) {
      if (this.#lastLength === this.#last.length) grownBytes += this.#grow(chunk.length - at)
      const copied = chunk.copy(this.#last, this.#lastLength, at)
      this.#lastLength += copied
      at += copied
    }
    return grownBytes
  }

  /** All of it, in a buffer of its own. */
  join(): Buffer {
    return Buffer.concat([...this.#full, this.#last.subarray(0, this.#lastLength)])
  }

  /** Gives the blocks back. It can be asked for nothing after that. */
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
    const grown = isBlock ? this.#pool.take() : Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, 2 * length, length + wantedBytes))
    if (length === BLOCK_BYTES) this.#lastLength = 0
    else this.#last.copy(grown)
    this.#last = grown
    return length === BLOCK_BYTES ? BLOCK_BYTES : grown.length - length
  }
}
