/**
 * How many streams one address, and this process, may hold open. Each costs little, but not nothing, and whoever can open
 * a page can open thousands.
 *
 * A stream over the limit is refused before it begins, as a problem (429 for the address, 503 for the process). Several
 * that are let in by the same look may overshoot by a few; they are counted when they open.
 */
import { ProblemError } from './problem.js'

export interface StreamLimitsOptions {
  maxPerAddress: number
  maxPerProcess: number
}

export interface StreamLimits {
  /** @throws ProblemError `too_many_streams` or `overloaded` when there is no room for another */
  assertRoom(address: string): void
  /** Counts a stream that opens; the caller calls what is returned once, when it has closed. */
  open(address: string): () => void
}

export function createStreamLimits({ maxPerAddress, maxPerProcess }: StreamLimitsOptions): StreamLimits {
  const byAddress = new Map<string, number>()
  let total = 0

  return {
    assertRoom(address) {
      if ((byAddress.get(address) ?? 0) >= maxPerAddress) {
        throw new ProblemError('too_many_streams', `${address} has ${maxPerAddress} streams open.`)
      }
      if (total >= maxPerProcess) throw new ProblemError('overloaded', `This process has ${maxPerProcess} streams open.`)
    },
    open(address) {
      total += 1
      byAddress.set(address, (byAddress.get(address) ?? 0) + 1)
      return () => {
        total -= 1
        const left = (byAddress.get(address) ?? 1) - 1
        if (left > 0) byAddress.set(address, left)
        else byAddress.delete(address)
      }
    },
  }
}
