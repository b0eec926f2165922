/**
 * What the process was doing when an error reached no handler: for the fatal line, which must name what did it. Costs nothing
 * until then: Node knows anyway for which timer, connection or request it calls.
 */
import { executionAsyncResource } from 'node:async_hooks'

export interface LastWords {
  /** The kind of thing Node was calling for, e.g. `Timeout`, `TCP`, `HTTPServerAsyncResource`. */
  during: string
  /** The other end of its connection, if it has one. */
  peer?: string
}

interface Connection {
  remoteAddress?: unknown
  remotePort?: unknown
}

/** To be called in the listener of `uncaughtException`. Never throws. */
export function describeWhatRan(): LastWords {
  const resource = executionAsyncResource() as object & { socket?: Connection }
  const { remoteAddress, remotePort } = resource.socket ?? ownerOf(resource) ?? {}
  return { during: resource.constructor?.name ?? 'unknown', ...(remoteAddress !== undefined && { peer: `${String(remoteAddress)}:${String(remotePort)}` }) }
}

/** Node's handle of a connection names the socket it belongs to by a symbol. */
function ownerOf(handle: object): Connection | undefined {
  const symbol = Object.getOwnPropertySymbols(handle).find(({ description }) => description === 'owner_symbol')
  return symbol && ((handle as Record<symbol, unknown>)[symbol] as Connection | undefined)
}
