/**
 * The log of a run: a pino child whose lines go to the worker's log, and are also reported, to be stored with the task
 * and shown live.
 *
 * Each stored line is one text: the message, and its fields as JSON. At most `MAX_LINES` are stored per attempt, so
 * that a loop that logs cannot fill the database; the worker's own log has them all. The worker's level decides what it
 * prints; `info` and above is stored whatever that level is.
 *
 * A call never throws, whatever is logged: logging must not fail the task. Fields named like those of the worker's own
 * line, such as its level or the task's id, are printed inside `fields`, so that no handler can forge them.
 */
import { pino, type LevelWithSilent, type Logger } from 'pino'
import { describeError } from '../../../definitions/thrown.js'
import type { Log } from '../../../log.js'
import { MAX_LOG_TEXT_LENGTH } from '../../../protocol/limits.js'
import type { LogLine } from '../../../protocol/task.js'
import { toStorableText } from '../../../protocol/text.js'
import { readLogLine } from './log-line.js'

/** Lines stored per attempt. */
export const MAX_LINES = 1_000
const STORED_FROM = 'info'
const NAMES_OF_LINE = ['level', 'time', 'pid', 'hostname', 'name', 'msg', 'fields']

export type ReportLine = (line: { atMs: number; level: LogLine['level']; text: string }) => void

/** `bindings` go into the worker's log only. */
export function createHandlerLog(log: Log, bindings: object, report: ReportLine): Log {
  // Its input is the other logger's output: errors are plain objects by then.
  const printed = log.child(bindings, { serializers: { err: (error: unknown) => error } })
  const ownNames = new Set([...NAMES_OF_LINE, ...Object.keys(bindings)])
  let count = 0

  function take(json: string): void {
    const { level, atMs, message, fields } = readLogLine(json)
    printed[level](setApart(fields, ownNames), message || undefined)
    if (levelNumber(level) < levelNumber(STORED_FROM)) return
    count += 1
    if (count > MAX_LINES) return
    const text =
      count < MAX_LINES
        ? describe(message, fields)
        : `${MAX_LINES} lines are stored; later lines are only in the worker's log`
    report({ atMs, level, text })
  }

  const level = levelNumber(printed.level) < levelNumber(STORED_FROM) ? printed.level : STORED_FROM
  return guardCalls(level, take)
}

/**
 * A pino logger whose calls never throw, nor those of its children, whatever their options. A failed call is logged as
 * a line.
 */
export function guardCalls(level: string, write: (json: string) => void): Logger {
  // Bypasses the serializers, formatters and redaction of a child, which may be what failed. So are the fields, which
  // they would have changed.
  const writePlain = (levelNumber: number, message: string) =>
    write(`${JSON.stringify({ level: levelNumber, time: Date.now(), msg: message })}\n`)
  const logMethod = function (
    this: Logger | undefined,
    args: Parameters<Logger['info']>,
    method: (...args: Parameters<Logger['info']>) => void,
    levelNumber: number,
  ) {
    try {
      method.apply(this ?? logger, args)
    } catch (error) {
      const message = (args as unknown[]).slice(0, 2).find((arg) => typeof arg === 'string')
      writePlain(
        levelNumber,
        [message, `a log line cannot be written: reading one of its fields failed (${describeError(error).message})`]
          .filter(Boolean)
          .join('; '),
      )
    }
  }
  const logger = pino({ level, base: null, hooks: { logMethod } }, { write })
  const { child, bindings, setBindings, flush } = logger
  const guard = <This, Args extends unknown[], Result>(
    call: (this: This, ...args: Args) => Result,
    instead: (self: This) => Result,
    what: string,
  ) =>
    function (this: This, ...args: Args): Result {
      try {
        return call.apply(this, args)
      } catch (error) {
        writePlain(pino.levels.values['warn'] ?? 40, `${what}: ${describeError(error).message}`)
        return instead(this)
      }
    }
  // Children inherit these overrides.
  logger.child = guard(
    child as unknown as (this: Logger, ...args: Parameters<Logger['child']>) => Logger,
    (self) => self,
    'a child logger cannot be made; its parent is used',
  ) as unknown as typeof child
  logger.bindings = guard(bindings, () => ({}), 'the bindings of a logger cannot be read')
  logger.setBindings = guard(setBindings, () => {}, 'the bindings of a logger cannot be set')
  logger.flush = guard(flush, () => {}, 'a logger cannot be flushed')
  const inherited = Object.getPrototypeOf(logger) as object
  Object.defineProperty(logger, 'level', {
    get(this: Logger) {
      return Reflect.get(inherited, 'level', this) as string
    },
    set: guard(
      function (this: Logger, name: string) {
        Reflect.set(inherited, 'level', name, this)
      },
      () => {},
      'the level of a logger cannot be set',
    ),
  })
  return logger
}
/** The fields as printed: those named like fields of the line itself are grouped under `fields`. */
function setApart(fields: Record<string, unknown>, ownNames: ReadonlySet<string>): Record<string, unknown> {
  const taken = Object.keys(fields).filter((name) => ownNames.has(name))
  if (taken.length === 0) return fields
  const rest = Object.fromEntries(Object.entries(fields).filter(([name]) => !ownNames.has(name)))
  return { ...rest, fields: Object.fromEntries(taken.map((name) => [name, fields[name]])) }
}

function levelNumber(level: LevelWithSilent | (string & {})): number {
  return pino.levels.values[level] ?? Infinity
}

function describe(message: string, fields: object): string {
  const extra = Object.keys(fields).length > 0 ? JSON.stringify(fields) : ''
  return toStorableText([message, extra].filter(Boolean).join(' '), MAX_LOG_TEXT_LENGTH)
}
