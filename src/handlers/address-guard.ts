/**
 * Keeps requests that users ask for away from the network the server stands in (server-side request forgery).
 *
 * It promises that a connection is only made to an address that was checked. A name is resolved once, by the lookup of
 * the connection itself: every address of the answer is checked, and the socket gets that answer, so a name server that
 * answers differently a moment later gains nothing. A host that already is an address never reaches a lookup, so it is
 * checked with the URL. The URL parser has by then turned forms such as `0x7f.1` or `2130706433` into plain ones.
 * Redirects are new URLs: whoever follows one checks it the same way.
 */
import type { LookupAddress } from 'node:dns'
import { lookup as resolveName } from 'node:dns/promises'
import { isIP, type LookupFunction } from 'node:net'
import ipaddr from 'ipaddr.js'

/** Thrown for a URL or an address that may not be reached. The message says why and what to do. */
export class AddressRefusedError extends Error {
  override readonly name = 'AddressRefusedError'
}

/** All addresses of a name. */
export type Resolve = (hostname: string) => Promise<readonly LookupAddress[]>

export interface GuardOptions {
  /** Lets every address and port through; the form of the URL is still checked. */
  allowPrivate: boolean
  /** How names are resolved. Default: as the operating system does, with its hosts file. */
  resolve?: Resolve
}

export interface AddressGuard {
  /** @throws AddressRefusedError when the URL's form, port or literal address is refused */
  checkUrl(url: URL): void
  /** Resolves for a socket (`net.connect`); fails with AddressRefusedError when any address of the name is refused. */
  readonly lookup: LookupFunction
}

/** The addresses every cloud machine can reach its provider at, although they look public. */
const PROVIDER_ADDRESSES = ['168.63.129.16']
/** What IANA has given out as global unicast; the rest of IPv6 is reserved or translates to something else. */
const GLOBAL_IPV6: [ipaddr.IPv6, number] = [ipaddr.IPv6.parse('2000::'), 3]
const HOW_TO_ALLOW = 'Use a public address, or let the operator set HTTP_REQUEST_ALLOW_PRIVATE=true.'

/**
 * Why an address is not public, in a word, or null when it is. Addresses that embed another (IPv4-mapped, NAT64, 6to4,
 * Teredo) are never public, whatever they embed.
 */
export function whyNotPublic(address: string): string | null {
  if (!ipaddr.isValid(address)) return 'malformed'
  const parsed = ipaddr.parse(address)
  const range = parsed.range()
  if (range !== 'unicast') return range
  if (parsed.kind() === 'ipv6') return parsed.match(GLOBAL_IPV6) ? null : 'reserved'
  return PROVIDER_ADDRESSES.includes(parsed.toString()) ? 'provider' : null
}

export function createAddressGuard({ allowPrivate, resolve = resolveAll }: GuardOptions): AddressGuard {
  const underWay = new Map<string, Promise<readonly LookupAddress[]>>()

  /** Those who ask while a name is being resolved get the same answer: a name server that is slow holds one thread, not all there are. */
  function resolveOnce(hostname: string): Promise<readonly LookupAddress[]> {
    const known = underWay.get(hostname)
    if (known !== undefined) return known
    const resolving = resolve(hostname).finally(() => underWay.delete(hostname))
    underWay.set(hostname, resolving)
    return resolving
  }

  async function lookupChecked(hostname: string): Promise<readonly LookupAddress[]> {
    const addresses = await resolveOnce(hostname)
    if (!allowPrivate) {
      for (const { address } of addresses) assertPublic(address, `${hostname} resolves to an address that`)
    }
    return addresses
  }

  return {
    checkUrl(url) {
      assertForm(url)
      if (allowPrivate) return
      if (!['', '80', '443'].includes(url.port)) {
        throw new AddressRefusedError(`port ${url.port} is refused: only 80 and 443 may be reached. ${HOW_TO_ALLOW}`)
      }
      const host = url.hostname.replace(/^\[|\]$/g, '')
      if (isIP(host) !== 0) assertPublic(host, host)
      // RFC 6761 section 6.3: these are loopback by name, whatever a resolver makes of them.
      if (/(^|\.)localhost\.?$/.test(host))
        throw new AddressRefusedError(`${host} is not public (loopback). ${HOW_TO_ALLOW}`)
    },
    lookup(hostname, options, callback) {
      lookupChecked(hostname).then(
        (addresses) => answerLookup(addresses, hostname, options.all === true, callback),
        (error: Error) => callback(error, ''),
      )
    },
  }
}

function resolveAll(hostname: string): Promise<LookupAddress[]> {
  return resolveName(hostname, { all: true })
}

function assertForm(url: URL): void {
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new AddressRefusedError(`${url.protocol} is refused: the url must begin with http:// or https://.`)
  }
  if (url.username !== '' || url.password !== '') {
    throw new AddressRefusedError('the url holds a user name or password: send an Authorization header instead.')
  }
}

function assertPublic(address: string, subject: string): void {
  const reason = whyNotPublic(address)
  if (reason !== null) throw new AddressRefusedError(`${subject} is not public (${reason}). ${HOW_TO_ALLOW}`)
}

/** Sockets ask for all addresses when they try families in turn, and for one otherwise. */
function answerLookup(
  addresses: readonly LookupAddress[],
  hostname: string,
  wantsAll: boolean,
  callback: Parameters<LookupFunction>[2],
): void {
  const [first] = addresses
  if (first === undefined) callback(new Error(`${hostname} has no address`), '')
  else if (wantsAll) callback(null, [...addresses])
  else callback(null, first.address, first.family)
}
