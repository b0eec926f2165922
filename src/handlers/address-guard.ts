/**
 * Keeps requests on behalf of users away from the network that the server is in (server-side request forgery).
 *
 * It guarantees that a connection is only made to an address that was checked. A name is resolved once, by the lookup
 * of the connection itself: every address of the answer is checked, and the socket uses that answer, so a name server
 * that answers differently a moment later gains nothing. A host that is already an address never reaches a lookup, so
 * it is checked with the URL. By then the URL parser has normalised forms such as `0x7f.1` or `2130706433`. Redirects
 * are new URLs: code that follows one checks it in the same way.
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
  /** Allows every address and port; the form of the URL is still checked. */
  allowPrivate: boolean
  /** How names are resolved. Default: by the operating system, including its hosts file. */
  resolve?: Resolve
}

export interface AddressGuard {
  /** @throws AddressRefusedError if the URL's form, port or literal address is refused */
  checkUrl(url: URL): void
  /** The lookup of a socket (`net.connect`); fails with AddressRefusedError if any address of the name is refused. */
  readonly lookup: LookupFunction
}

/** The addresses under which cloud machines reach services of their provider; they look public. */
const PROVIDER_ADDRESSES = ['168.63.129.16']
/** The global unicast range assigned by IANA; the rest of IPv6 is reserved or translates to other addresses. */
const GLOBAL_IPV6: [ipaddr.IPv6, number] = [ipaddr.IPv6.parse('2000::'), 3]
const HOW_TO_ALLOW = 'Use a public address, or have the operator set HTTP_REQUEST_ALLOW_PRIVATE=true.'

/**
 * Why an address is not public, in a word, or null if it is. Addresses that embed another (IPv4-mapped, NAT64, 6to4,
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

  /** Concurrent lookups of a name share one answer: a slow name server holds one thread, not all of them. */
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
        throw new AddressRefusedError(`port ${url.port} is refused: only ports 80 and 443 are allowed. ${HOW_TO_ALLOW}`)
      }
      const host = url.hostname.replace(/^\[|\]$/g, '')
      if (isIP(host) !== 0) assertPublic(host, host)
      // RFC 6761 section 6.3: these names are loopback, whatever a resolver answers.
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
    throw new AddressRefusedError('the url contains a user name or password: send an Authorization header instead.')
  }
}

function assertPublic(address: string, subject: string): void {
  const reason = whyNotPublic(address)
  if (reason !== null) throw new AddressRefusedError(`${subject} is not public (${reason}). ${HOW_TO_ALLOW}`)
}

/** Sockets ask for all addresses if they try families in turn, and otherwise for one. */
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
