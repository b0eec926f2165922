/**
 * DATABASE_URL, read in one place for both drivers. Each of them knows other parameters, lets the URL replace what the program sets,
 * and takes `sslmode` for something else; so neither ever sees the URL. A parameter is honoured with libpq's meaning, or ignored and
 * named in `ignored`, which a start says in one line. Settings in `options` come before Taskwire's own, which win.
 * @see https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
 */
import { readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { checkServerIdentity, type ConnectionOptions, type PeerCertificate } from 'node:tls'
import type { Options, PostgresType } from 'postgres'
import { StartupError } from '../startup-error.js'

export interface DatabaseAddress {
  /** A name, an IP address without brackets, or the folder of a socket file, which begins with a slash. */
  host: string
  port: number
  database: string
  user: string
  password: string | undefined
  /** Undefined: not encrypted. */
  tls: ConnectionOptions | undefined
  isTlsDirect: boolean
  /** Settings of the session, as `-c name=value`; empty when there are none. */
  options: string
  applicationName: string | undefined
  connectTimeoutSeconds: number | undefined
  /** The names of parameters that are not honoured; the values may be secret. */
  ignored: string[]
}

/** What a connection adds to its address. */
export interface ConnectionNeeds {
  /** Shown in `pg_stat_activity`. */
  applicationName: string
  /** Settings as `-c name=value`, which win over those of the URL. */
  options?: string
  /** Unless the URL sets `connect_timeout`. */
  connectTimeoutSeconds: number
}

const MAX_APPLICATION_NAME = 63
/**
 * Of every connection, whatever the server, the database or the role has as a default: how values are written as text and read again...
 * @see https://www.postgresql.org/docs/current/runtime-config-client.html and runtime-config-compatible.html
 */
const FORMAT_SETTINGS =
  '-c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=1 -c bytea_output=hex -c standard_conforming_strings=on -c array_nulls=on -c transform_null_equals=off'
/**
 * ...and, unless the URL says otherwise, that no statement is ended that has a deadline here, and no connection that waits in a pool; and
 * that what was answered to be stored is on the disk. Settings that ours cannot replace are refused at the start, see `writability.ts`.
 */
const DEFAULT_SETTINGS = '-c statement_timeout=0 -c lock_timeout=0 -c idle_session_timeout=0 -c synchronous_commit=on'
/** Stands for a host that is missing. */
const NO_HOST = '%20'
const HONOURED = new Set([
  ...['host', 'port', 'user', 'password', 'dbname', 'options', 'application_name', 'connect_timeout'],
  ...['sslmode', 'ssl', 'sslrootcert', 'sslcert', 'sslkey', 'sslnegotiation'],
])
/** What only says how another driver is to behave, and that this one does so anyway. */
const IMPLIED = /^(uselibpqcompat=true|sslnegotiation=postgres|target_session_attrs=any|gssencmode=(disable|prefer)|channel_binding=(disable|prefer))$/

/** Whether a text has the form of a URL of one server. What its parameters name is looked at when it is read. */
export function isDatabaseUrl(text: string): boolean {
  try {
    return parse(text) instanceof URL
  } catch {
    return false
  }
}

/** @throws StartupError with one clear line, which never holds the password */
export function readDatabaseUrl(text: string, env: NodeJS.ProcessEnv = process.env): DatabaseAddress {
  const url = parse(text)
  const given = Object.fromEntries(url.searchParams)
  const user = given['user'] || decode(url.username) || env['PGUSER'] || userInfo().username
  const named = url.hostname === NO_HOST ? '' : decode(url.hostname.replace(/^\[(.*)\]$/, '$1'))
  const host = given['host'] || named || env['PGHOST'] || 'localhost'
  if (host.includes(',')) throw new StartupError('DATABASE_URL names several hosts. Name one, or a proxy that leads to the one that takes writes.')
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
    // Zero means for ever, which nothing here may wait.
    connectTimeoutSeconds: readNumber('connect_timeout', given['connect_timeout']) || undefined,
    ignored: [...url.searchParams].filter(([name, value]) => isIgnored(name, value)).map(([name, value]) => (name === 'sslmode' ? `sslmode=${value}` : name)),
  }
}

/** One line about what is not honoured; undefined when everything is. */
export function describeIgnored({ ignored }: DatabaseAddress): string | undefined {
  if (ignored.length === 0) return undefined
  return `DATABASE_URL: ${ignored.join(', ')} ${ignored.length === 1 ? 'is' : 'are'} ignored. Settings of the server go into options=-c%20name%3Dvalue.`
}

/** `host:port/database`; never the password. */
export function describeDatabase(text: string): string {
  const { host, port, database } = readDatabaseUrl(text)
  return `${host.includes(':') ? `[${host}]` : host}:${port}/${database}`
}

/** For node-postgres, and for what is built on it. */
export function toPgConfig(text: string, needs: ConnectionNeeds) {
  const address = readDatabaseUrl(text)
  const { host, port, database, user, password, tls, isTlsDirect } = address
  return {
    ...{ host, port, database, user, ssl: tls ?? false },
    ...(password !== undefined && { password }),
    ...(isTlsDirect && { sslnegotiation: 'direct' as const }),
    application_name: nameOf(address, needs),
    options: optionsOf(address, needs),
    connectionTimeoutMillis: (address.connectTimeoutSeconds ?? needs.connectTimeoutSeconds) * 1_000,
  }
}

/** For postgres.js. */
export function toPostgresOptions(text: string, needs: ConnectionNeeds): Options<Record<string, PostgresType>> {
  const address = readDatabaseUrl(text)
  const { host, port, database, user, password, tls, isTlsDirect } = address
  return {
    // As lists, which its types do not know: a text with colons, such as an IPv6 address, would be taken for a host and a port.
    ...{ host: [host] as unknown as string, port: [port] as unknown as number, database, user, ssl: tls ?? false },
    ...(password !== undefined && { password }),
    ...(host.startsWith('/') && { path: `${host}/.s.PGSQL.${port}` }),
    ...(isTlsDirect && { sslnegotiation: 'direct' }),
    connect_timeout: address.connectTimeoutSeconds ?? needs.connectTimeoutSeconds,
    connection: { application_name: nameOf(address, needs), options: optionsOf(address, needs) },
  }
}

function parse(text: string): URL {
  // A host may be missing, with a socket in the parameters; `URL` then takes no user.
  const complete = text.replace(/^(postgres(?:ql)?:\/\/[^/?#]*@)(?=[/?]|$)/, `$1${NO_HOST}`).replace(/^(postgres(?:ql)?:\/\/)(?=[/?]|$)/, `$1${NO_HOST}`)
  const authority = /^postgres(?:ql)?:\/\/([^/?#]*)/.exec(text)?.[1] ?? ''
  if (authority.slice(authority.lastIndexOf('@') + 1).includes(',')) {
    throw new StartupError('DATABASE_URL names several hosts. Name one, or a proxy that leads to the one that takes writes.')
  }
  if (!/^postgres(?:ql)?:\/\//.test(text) || !URL.canParse(complete)) {
    throw new StartupError('DATABASE_URL is not a URL such as postgres://user:password@host:5432/database. Encode special characters of the password: %23 is #, %2F is /.')
  }
  return new URL(complete)
}

/** A percent sign that encodes nothing stands for itself. */
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
  throw new StartupError(`DATABASE_URL: ${name}=${text} is not a number. Correct it, or leave it out.`)
}

function isIgnored(name: string, value: string): boolean {
  if (name === 'sslmode') return value === 'allow' || value === 'prefer'
  return !HONOURED.has(name) && !IMPLIED.test(`${name}=${value}`)
}

/**
 * `allow` and `prefer` encrypt when the server happens to, which protects from nobody and which the drivers cannot do alike: they count
 * as `disable`, and are named as ignored. `require` checks no certificate, unless one is given to check against.
 */
function readTls(given: Record<string, string>, host: string): ConnectionOptions | undefined {
  const { sslrootcert, sslcert, sslkey } = given
  const mode = given['sslmode'] || modeOfFlag(given['ssl']) || (given['sslnegotiation'] === 'direct' ? 'require' : sslrootcert ? 'verify-full' : 'disable')
  if (mode === 'disable' || mode === 'allow' || mode === 'prefer') return undefined
  const files = {
    ...(sslrootcert !== undefined && sslrootcert !== 'system' && { ca: readPem('sslrootcert', sslrootcert) }),
    ...(sslcert !== undefined && { cert: readPem('sslcert', sslcert) }),
    ...(sslkey !== undefined && { key: readPem('sslkey', sslkey) }),
  }
  // Said here, because postgres.js compares the certificate of an IP address with "localhost".
  const checkHost = { checkServerIdentity: (_: string, certificate: PeerCertificate) => checkServerIdentity(host, certificate) }
  if (mode === 'verify-full' || sslrootcert === 'system') return { ...files, ...checkHost, rejectUnauthorized: true }
  if (mode === 'verify-ca' || (mode === 'require' && sslrootcert !== undefined)) return { ...files, rejectUnauthorized: true, checkServerIdentity: () => undefined }
  if (mode === 'require' || mode === 'no-verify') return { ...files, rejectUnauthorized: false }
  throw new StartupError(`DATABASE_URL: sslmode=${mode} is none of disable, allow, prefer, require, verify-ca and verify-full. Correct it.`)
}

/** `ssl` is what JavaScript's drivers call it. */
function modeOfFlag(value: string | undefined): string | undefined {
  if (value === 'true' || value === '1') return 'verify-full'
  return value === 'false' || value === '0' ? 'disable' : value
}

function readPem(name: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new StartupError(`DATABASE_URL: cannot read ${name}=${file} (${(error as NodeJS.ErrnoException).code}). Name a file that this user can read.`)
  }
}

/** The name in the URL comes before the role's, so that both can be searched for. */
function nameOf({ applicationName }: DatabaseAddress, needs: ConnectionNeeds): string {
  const name = applicationName === undefined ? needs.applicationName : `${applicationName} (${needs.applicationName})`
  return name.slice(0, MAX_APPLICATION_NAME)
}

/** Of two settings of one name the later one counts. */
function optionsOf({ options }: DatabaseAddress, needs: ConnectionNeeds): string {
  return [DEFAULT_SETTINGS, options, FORMAT_SETTINGS, needs.options ?? ''].filter((part) => part !== '').join(' ')
}
