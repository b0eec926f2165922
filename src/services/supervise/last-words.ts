/**
 * What the process was doing when an error was not caught, for the fatal log line that must name the cause. Costs
 * nothing until then, because Node tracks the timer, connection or request of each callback anyway.
 */
import { executionAsyncResource } from 'node:async_hooks'

export interface LastWords {
  /** The kind of resource whose callback was running, e.g. `Timeout`, `TCP`, `HTTPServerAsyncResource`. */
  during: string
  /** The peer of its connection, if it has one. */
  peer?: string
}

interface Connection {
  remoteAddress?: unknown
  remotePort?: unknown
}

/** Call it in the listener of `uncaughtException`. Never throws. */
export function describeWhatRan(): LastWords {
  const resource = executionAsyncResource() as object & { socket?: Connection }
  const { remoteAddress, remotePort } = resource.socket ?? ownerOf(resource) ?? {}
  return {
    during: resource.constructor?.name ?? 'unknown',
    ...(remoteAddress !== undefined && { peer: `${String(remoteAddress)}:${String(remotePort)}` }),
  }
}

/** Node's handle of a connection refers to its socket under a symbol. */
function ownerOf(handle: object): Connection | undefined {
  const symbol = Object.getOwnPropertySymbols(handle).find(({ description }) => description === 'owner_symbol')
  return symbol && ((handle as Record<symbol, unknown>)[symbol] as Connection | undefined)
}
