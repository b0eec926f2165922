/** The contents of a `Host` field: the `host:port` of a URL (RFC 3986, section 3.2; RFC 9110, section 7.2). */
import { isIPv4, isIPv6 } from 'node:net'

export interface Authority {
  /** In lower case, without a trailing dot; an IPv6 address in brackets. */
  readonly name: string
  /** As given; empty if omitted. */
  readonly port: string
}

const AUTHORITY = /^(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,255})(?::(\d{0,5}))?$/i
const MAX_PORT = 65_535

/**
 * Undefined if the text is not one host with at most one port: with a user, a list, a space, a zone or a port above
 * 65535.
 */
export function parseAuthority(text: string): Authority | undefined {
  const [, host = '', port = ''] = AUTHORITY.exec(text) ?? []
  const name = host.toLowerCase().replace(/\.$/, '')
  if (name === '' || Number(port) > MAX_PORT) return undefined
  if (name.startsWith('[') && !isIPv6(name.slice(1, -1))) return undefined
  return { name, port }
}

/**
 * Whether the name is an IP address. A browser writes each address in one form, so `127.1` is a name here, and one that
 * no browser sends.
 */
export function isAddress(name: string): boolean {
  return name.startsWith('[') || isIPv4(name)
}

/** The origin (RFC 6454) of pages at this host; undefined if there can be none. Default ports are omitted. */
export function originOf(scheme: string, authority: string): string | undefined {
  const url = `${scheme}://${authority}`
  return URL.canParse(url) ? new URL(url).origin : undefined
}
