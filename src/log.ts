/** The log of a process: JSON lines on standard output, without secrets. */
import { pino, stdSerializers, type DestinationStream, type Logger } from 'pino'
import { createRedactor } from './secrets.js'

/** What libraries hang on their errors besides message and code: the command with its password, the URL that could not be read. */
const REVEALING_FIELDS = new Set(['command', 'previousErrors', 'input', 'base', 'options', 'config', 'connectionString', 'connectionParameters'])

export function createLog(options: { name: string; level: string }, destination?: DestinationStream): Logger {
  return pino({ ...options, serializers: { err: describeError }, hooks: { streamWrite: createRedactor(process.env) } }, destination)
}

function describeError(error: Error): object {
  return Object.fromEntries(Object.entries(stdSerializers.err(error)).filter(([name]) => !REVEALING_FIELDS.has(name)))
}
