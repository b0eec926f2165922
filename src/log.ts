/** The log of a process: JSON lines on standard output, without secrets. */
import { inspect } from 'node:util'
import {
  pino,
  stdSerializers,
  type BaseLogger,
  type Bindings,
  type ChildLoggerOptions,
  type DestinationStream,
  type Logger,
} from 'pino'
import { createRedactor } from './secrets.js'

/** The logger passed to code that logs: pino's logger or a child of it. */
export interface Log extends Pick<
  BaseLogger,
  'level' | 'info' | 'error' | 'debug' | 'fatal' | 'warn' | 'trace' | 'silent'
> {
  child(bindings: Bindings, options?: ChildLoggerOptions): Log
}

/**
 * Fields that libraries add to their errors besides message and code: the command with its password, the malformed URL.
 */
const REVEALING_FIELDS = new Set([
  'command',
  'previousErrors',
  'input',
  'base',
  'options',
  'config',
  'connectionString',
  'connectionParameters',
])

export function createLog(options: { name: string; level: string }, destination?: DestinationStream): Logger {
  return pino(
    { ...options, serializers: { err: describeError }, hooks: { streamWrite: createRedactor(process.env) } },
    destination,
  )
}

/**
 * Describes any thrown value: undefined, a text, a proxy that throws on every access. Logging it must not end the
 * process.
 */
function describeError(thrown: unknown): object {
  try {
    if (typeof thrown !== 'object' || thrown === null) return { type: typeof thrown, message: inspect(thrown) }
    return Object.fromEntries(
      Object.entries(stdSerializers.err(thrown as Error)).filter(([name]) => !REVEALING_FIELDS.has(name)),
    )
  } catch {
    return { type: 'unreadable', message: 'an error was thrown that cannot be read' }
  }
}
