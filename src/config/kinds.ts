/** Kinds of variables that several roles share. */
import { Type } from 'typebox'

/** An integer within bounds, both included. */
export function integer(minimum: number, maximum: number, initial: number, description: string) {
  return Type.Integer({
    minimum,
    maximum,
    default: initial,
    description,
    expected: `a whole number from ${minimum} to ${maximum}`,
  })
}

/** The URL of a server with one of these schemes. It may hold a password, so it is never printed. */
export function serverUrl(schemes: readonly string[], example: string, description: string) {
  const isUrl = (value: string) =>
    URL.canParse(value) && schemes.includes(new URL(value).protocol.slice(0, -1)) && isUnambiguous(new URL(value))
  const expected = `a URL such as ${example}, with @ / ? # % in user or password percent-encoded`
  return Type.Refine(Type.String({ description, expected, isSecret: true }), isUrl)
}

/**
 * Whether the password is encoded properly. An unencoded `/`, `?`, `#` or `@` would move part of it into path, query or
 * host, from where it would be shown as the name of a database or of an unknown host.
 */
function isUnambiguous({ host, pathname, search, hash, username, password }: URL): boolean {
  const isDecodable = [username, password, pathname].every(
    (part) => /^(?:[^%]|%[0-9a-f]{2})*$/i.test(part) && canDecode(part),
  )
  return host !== '' && hash === '' && isDecodable && !/[@:]|^\/.*\//.test(pathname) && !search.includes('@')
}

/** The same for the URL of a database, where host, user and database may be missing. */
export function isUnambiguousDatabase(text: string): boolean {
  const [, userInfo = '', host = '', path = '', search = '', hash = ''] =
    /^[a-z]+:\/\/(?:([^/?#]*)@)?([^/?#@]*)([^?#]*)(\?[^#]*)?(#.*)?$/i.exec(text) ?? []
  const isDecodable = [userInfo, path].every((part) => /^(?:[^%]|%[0-9a-f]{2})*$/i.test(part) && canDecode(part))
  // A password without a host has swallowed the host.
  const hasHost = host !== '' || !userInfo.includes(':') || /[?&]host=/.test(search)
  return hasHost && hash === '' && isDecodable && !/[@:]|^\/.*\//.test(path) && !search.includes('@')
}

function canDecode(text: string): boolean {
  try {
    return decodeURIComponent(text) !== undefined
  } catch {
    return false
  }
}

export function logLevel(initial: string) {
  const levels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
  return Type.Enum([...levels], {
    default: initial,
    description: 'the lowest level that is logged',
    expected: `one of ${levels.join(', ')}`,
  })
}
