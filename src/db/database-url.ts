/**
 * Reads DATABASE_URL in one place for both drivers. They know different parameters, let the URL override what the
 * program sets, and disagree on the meaning of `sslmode`, so neither driver ever sees the URL. Each parameter either
 * has libpq's meaning, or is ignored and listed in `ignored`, which is logged in one line at start. Settings in
 * `options` come before Taskwire's own, so Taskwire's win.
 * @see https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
 */
import { readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { checkServerIdentity, type ConnectionOptions, type PeerCertificate } from 'node:tls'
import type { Options, PostgresType } from 'postgres'
import { StartupError } from '../startup-error.js'

export interface DatabaseAddress {
  /** A host name, an IP address without brackets, or the folder of a Unix socket, which begins with a slash. */
  host: string
  port: number
  database: string
  user: string
  password: string | undefined
  /** Undefined: not encrypted. */
  tls: ConnectionOptions | undefined
  isTlsDirect: boolean
  /** Session settings, as `-c name=value`; empty when there are none. */
  options: string
  applicationName: string | undefined
  connectTimeoutSeconds: number | undefined
  /** Names of the parameters that are ignored. Names only: the values may be secret. */
  ignored: string[]
}

/** What the caller adds to the address of a connection. */
export interface ConnectionNeeds {
  /** Shown in `pg_stat_activity`. */
  applicationName: string
  /** Settings as `-c name=value`. They override those of the URL. */
  options?: string
  /** Applies unless the URL sets `connect_timeout`. */
  connectTimeoutSeconds: number
}

const MAX_APPLICATION_NAME = 63
/**
 * Set on every connection, whatever the defaults of the server, the database or the role: how values are written as
 * text and read back.
 * @see https://www.postgresql.org/docs/current/runtime-config-client.html and runtime-config-compatible.html
 */
const FORMAT_SETTINGS =
  '-c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=1 -c bytea_output=hex -c standard_conforming_strings=on -c array_nulls=on -c transform_null_equals=off'
/**
 * Defaults that the URL may override: the server ends no statement, because each has its own deadline here, and no
 * connection that is idle in a pool; and a commit is on disk before it is acknowledged. Settings that ours cannot
 * override are refused at the start, see `writability.ts`.
 */
const DEFAULT_SETTINGS = '-c statement_timeout=0 -c lock_timeout=0 -c idle_session_timeout=0 -c synchronous_commit=on'
/** Placeholder for a missing host. */
const NO_HOST = '%20'
const HONOURED = new Set([
  ...['host', 'port', 'user', 'password', 'dbname', 'options', 'application_name', 'connect_timeout'],
  ...['sslmode', 'ssl', 'sslrootcert', 'sslcert', 'sslkey', 'sslnegotiation'],
])
/** Parameters meant for other drivers that ask for what this program does anyway. They need no mention in `ignored`. */
const IMPLIED =
  /^(uselibpqcompat=true|sslnegotiation=postgres|target_session_attrs=any|gssencmode=(disable|prefer)|channel_binding=(disable|prefer))$/

/** Whether the text has the form of a URL of one server. Files named by its parameters are only checked on reading. */
export function isDatabaseUrl(text: string): boolean {
  try {
    return parse(text) instanceof URL
  } catch {
    return false
  }
}

/** @throws StartupError with a one-line message that never contains the password */
export function readDatabaseUrl(text: string, env: NodeJS.ProcessEnv = process.env): DatabaseAddress {
  const url = parse(text)
  const given = Object.fromEntries(url.searchParams)
  const user = given['user'] || decode(url.username) || env['PGUSER'] || userInfo().username
  const named = url.hostname === NO_HOST ? '' : decode(url.hostname.replace(/^\[(.*)\]$/, '$1'))
  const host = given['host'] || named || env['PGHOST'] || 'localhost'
  if (host.includes(','))
    throw new StartupError(
      'DATABASE_URL names several hosts. Name one of them, or a proxy that forwards to the primary.',
    )
  const tls = readTls(given, host)
  return {
    host,
    port: readNumber('port', given['port'] || url.port || env['PGPORT']) ?? 5432,
    database: given['dbname'] || decode(url.pathname.slice(1)) || env['PGDATABASE'] || user,
    user,
    password: given['password'] || decode(url.password) || env['PGPASSWORD'] || undefined,
    tls,
    isTlsDirect: tls !== undefined && given['sslnegotiation'] === 'direct',
    options: given['options'] ?? '',
    applicationName: given['application_name'] || undefined,
    // Zero means no limit, which is never acceptable here.
    connectTimeoutSeconds: readNumber('connect_timeout', given['connect_timeout']) || undefined,
    ignored: [...url.searchParams]
      .filter(([name, value]) => isIgnored(name, value))
      .map(([name, value]) => (name === 'sslmode' ? `sslmode=${value}` : name)),
  }
}

/** One line about the ignored parameters; undefined when there are none. */
export function describeIgnored({ ignored }: DatabaseAddress): string | undefined {
  if (ignored.length === 0) return undefined
  return `DATABASE_URL: ${ignored.join(', ')} ${ignored.length === 1 ? 'is' : 'are'} ignored. Pass server settings as options=-c%20name%3Dvalue.`
}

/** `host:port/database`; never the password. */
export function describeDatabase(text: string): string {
  const { host, port, database } = readDatabaseUrl(text)
  return `${host.includes(':') ? `[${host}]` : host}:${port}/${database}`
}

/** Options for node-postgres and for libraries built on it. */
export function toPgConfig(text: string, needs: ConnectionNeeds) {
  const address = readDatabaseUrl(text)
  const { host, port, database, user, password, tls, isTlsDirect } = address
  return {
    host,
    port,
    database,
    user,
    ssl: tls ?? false,
    ...(password !== undefined && { password }),
    ...(isTlsDirect && { sslnegotiation: 'direct' as const }),
    application_name: nameOf(address, needs),
    options: optionsOf(address, needs),
    connectionTimeoutMillis: (address.connectTimeoutSeconds ?? needs.connectTimeoutSeconds) * 1_000,
  }
}

/** Options for postgres.js. */
export function toPostgresOptions(text: string, needs: ConnectionNeeds): Options<Record<string, PostgresType>> {
  const address = readDatabaseUrl(text)
  const { host, port, database, user, password, tls, isTlsDirect } = address
  return {
    // As lists, which its types do not allow: it would split a text with colons, such as an IPv6 address, into host and
    // port.
    host: [host] as unknown as string,
    port: [port] as unknown as number,
    database,
    user,
    ssl: tls ?? false,
    // It would query the array types on each new connection. If that fails (the connection is cut, or a time-out of the
    // server ends it), the process ends with an unhandled rejection. So arrays arrive as JSON or are read by drizzle.
    fetch_types: false,
    ...(password !== undefined && { password }),
    ...(host.startsWith('/') && { path: `${host}/.s.PGSQL.${port}` }),
    ...(isTlsDirect && { sslnegotiation: 'direct' }),
    connect_timeout: address.connectTimeoutSeconds ?? needs.connectTimeoutSeconds,
    connection: { application_name: nameOf(address, needs), options: optionsOf(address, needs) },
  }
}

function parse(text: string): URL {
  // The host may be missing when the parameters name a socket. `URL` then accepts no user, hence the placeholder.
  const complete = text
    .replace(/^(postgres(?:ql)?:\/\/[^/?#]*@)(?=[/?]|$)/, `$1${NO_HOST}`)
    .replace(/^(postgres(?:ql)?:\/\/)(?=[/?]|$)/, `$1${NO_HOST}`)
  const authority = /^postgres(?:ql)?:\/\/([^/?#]*)/.exec(text)?.[1] ?? ''
  if (authority.slice(authority.lastIndexOf('@') + 1).includes(',')) {
    throw new StartupError(
      'DATABASE_URL names several hosts. Name one of them, or a proxy that forwards to the primary.',
    )
  }
  if (!/^postgres(?:ql)?:\/\//.test(text) || !URL.canParse(complete)) {
    throw new StartupError(
      'DATABASE_URL is not a URL such as postgres://user:password@host:5432/database. Percent-encode special characters in the password: # is %23, / is %2F.',
    )
  }
  return new URL(complete)
}

/** A percent sign that is no valid encoding stands for itself. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function readNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined
  if (/^\d{1,5}$/.test(text)) return Number(text)
  throw new StartupError(`DATABASE_URL: ${name}=${text} is not a number. Correct or remove it.`)
}

function isIgnored(name: string, value: string): boolean {
  if (name === 'sslmode') return value === 'allow' || value === 'prefer'
  return !HONOURED.has(name) && !IMPLIED.test(`${name}=${value}`)
}

/**
 * `allow` and `prefer` encrypt only when the server happens to offer it. That protects against nobody, and the drivers
 * implement it differently, so both count as `disable` and are reported as ignored. `require` checks no certificate
 * unless a root certificate is given.
 */
function readTls(given: Record<string, string>, host: string): ConnectionOptions | undefined {
  const { sslrootcert, sslcert, sslkey } = given
  const mode =
    given['sslmode'] ||
    modeOfFlag(given['ssl']) ||
    (given['sslnegotiation'] === 'direct' ? 'require' : sslrootcert ? 'verify-full' : 'disable')
  if (mode === 'disable' || mode === 'allow' || mode === 'prefer') return undefined
  const files = {
    ...(sslrootcert !== undefined && sslrootcert !== 'system' && { ca: readPem('sslrootcert', sslrootcert) }),
    ...(sslcert !== undefined && { cert: readPem('sslcert', sslcert) }),
    ...(sslkey !== undefined && { key: readPem('sslkey', sslkey) }),
  }
  // Set explicitly, because postgres.js checks the certificate of an IP address against "localhost".
  const checkHost = {
    checkServerIdentity: (_: string, certificate: PeerCertificate) => checkServerIdentity(host, certificate),
  }
  if (mode === 'verify-full' || sslrootcert === 'system') return { ...files, ...checkHost, rejectUnauthorized: true }
  if (mode === 'verify-ca' || (mode === 'require' && sslrootcert !== undefined))
    return { ...files, rejectUnauthorized: true, checkServerIdentity: () => undefined }
  if (mode === 'require' || mode === 'no-verify') return { ...files, rejectUnauthorized: false }
  throw new StartupError(
    `DATABASE_URL: sslmode=${mode} is not valid. Use disable, allow, prefer, require, verify-ca or verify-full.`,
  )
}

/** `ssl` is the parameter name used by JavaScript drivers. */
function modeOfFlag(value: string | undefined): string | undefined {
  if (value === 'true' || value === '1') return 'verify-full'
  return value === 'false' || value === '0' ? 'disable' : value
}

function readPem(name: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new StartupError(
      `DATABASE_URL: cannot read ${name}=${file} (${(error as NodeJS.ErrnoException).code}). Name a file that the user of this process can read.`,
    )
  }
}

/** The URL's name first, then the role's, so that both can be searched for. */
function nameOf({ applicationName }: DatabaseAddress, needs: ConnectionNeeds): string {
  const name = applicationName === undefined ? needs.applicationName : `${applicationName} (${needs.applicationName})`
  return name.slice(0, MAX_APPLICATION_NAME)
}

/** When a setting occurs twice, the later one wins. */
function optionsOf({ options }: DatabaseAddress, needs: ConnectionNeeds): string {
  return [DEFAULT_SETTINGS, options, FORMAT_SETTINGS, needs.options ?? ''].filter((part) => part !== '').join(' ')
}
