/**
 * How many streams one address, one key and this process may hold open. Each costs little, but a single page can open
 * thousands. A slow answer counts as a stream too: a long poll, a download, an upload. The key is what a client sends
 * as `Authorization: Bearer …`; without one only the address counts.
 *
 * A stream over the limit is refused before it starts, as a problem (429 for the client, 503 for the process).
 * Concurrent requests that pass the same check may exceed the limit by a few; streams are counted when they open.
 */
import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { ProblemError } from '../problem.js'

export interface StreamLimitsOptions {
  maxPerAddress: number
  maxPerKey: number
  maxPerProcess: number
}

type Client = Pick<FastifyRequest, 'ip'> & { headers: { authorization?: string | undefined } }

export interface StreamLimits {
  /** @throws ProblemError `too_many_streams` or `overloaded` if there is no room for another */
  assertRoom(client: Client): void
  /** Counts a stream that opens; the caller calls the returned function once, when it has closed. */
  open(client: Client): () => void
  /**
   * Both in one step.
   * @returns a function to be called once, when the stream is over
   * @throws as `assertRoom`
   */
  enter(client: Client): () => void
  /** As `enter`, but returns undefined where it would throw. */
  tryEnter(client: Client): (() => void) | undefined
}

export function createStreamLimits({ maxPerAddress, maxPerKey, maxPerProcess }: StreamLimitsOptions): StreamLimits {
  const byAddress = createCounts()
  const byKey = createCounts()
  let total = 0

  function findRefusal(client: Client): ProblemError | undefined {
    const key = keyOf(client)
    if (byAddress.of(client.ip) >= maxPerAddress)
      return new ProblemError('too_many_streams', `${client.ip} has ${maxPerAddress} streams open.`)
    if (key !== undefined && byKey.of(key) >= maxPerKey)
      return new ProblemError('too_many_streams', `This key has ${maxPerKey} streams open.`)
    return total >= maxPerProcess
      ? new ProblemError('overloaded', `This process has ${maxPerProcess} streams open.`)
      : undefined
  }

  const limits: StreamLimits = {
    assertRoom(client) {
      const refusal = findRefusal(client)
      if (refusal !== undefined) throw refusal
    },
    open(client) {
      const { ip } = client
      const key = keyOf(client)
      total += 1
      byAddress.add(ip, 1)
      if (key !== undefined) byKey.add(key, 1)
      return () => {
        total -= 1
        byAddress.add(ip, -1)
        if (key !== undefined) byKey.add(key, -1)
      }
    },
    enter(client) {
      limits.assertRoom(client)
      return limits.open(client)
    },
    tryEnter: (client) => (findRefusal(client) === undefined ? limits.open(client) : undefined),
  }
  return limits
}

/** Never the key itself: memory may end up in a dump. */
function keyOf({ headers: { authorization } }: Client): string | undefined {
  const token = /^Bearer (\S+)$/i.exec(authorization ?? '')?.[1]
  return token && createHash('sha256').update(token).digest('base64url')
}

function createCounts() {
  const counts = new Map<string, number>()
  return {
    of: (name: string) => counts.get(name) ?? 0,
    add(name: string, change: number) {
      const count = (counts.get(name) ?? 0) + change
      if (count > 0) counts.set(name, count)
      else counts.delete(name)
    },
  }
}
