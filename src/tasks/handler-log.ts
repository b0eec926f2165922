/**
 * The log of a run: a pino child whose lines go where the worker's go, and are reported besides, to be stored with the task
 * and shown live.
 *
 * What is stored is one text a line: the message, and its fields as JSON. At most `MAX_LINES` a run, so that a loop that
 * logs cannot fill the database; the worker's own log has them all. The worker's level decides what it prints, and
 * `info` and above is stored whatever that level is.
 */
import { pino, type LevelWithSilent } from 'pino'
import type { FastifyBaseLogger } from 'fastify'
import type { LogLine } from '../protocol/task.js'

/** Lines stored per attempt. */
export const MAX_LINES = 1_000
const MAX_TEXT_LENGTH = 2_000
const STORED_FROM = 'info'

export type ReportLine = (line: { atMs: number; level: LogLine['level']; text: string }) => void

interface WrittenLine {
  level: number
  time: number
  msg?: string
  [field: string]: unknown
}

/** `bindings` go into the worker's log only. */
export function createHandlerLog(log: FastifyBaseLogger, bindings: object, report: ReportLine): FastifyBaseLogger {
  // What it is given is what the other has written: errors are plain objects by then.
  const printed = log.child(bindings, { serializers: { err: (error: unknown) => error } })
  let count = 0

  function take(json: string): void {
    const { level: number, time: atMs, msg, ...fields } = JSON.parse(json) as WrittenLine
    const level = pino.levels.labels[number] as LogLine['level']
    printed[level](fields, msg)
    if (number < levelNumber(STORED_FROM)) return
    count += 1
    if (count > MAX_LINES) return
    const text = count < MAX_LINES ? describe(msg, fields) : `${MAX_LINES} lines are stored; what follows is in the log of the worker`
    report({ atMs, level, text })
  }

  const level = levelNumber(printed.level) < levelNumber(STORED_FROM) ? printed.level : STORED_FROM
  return pino({ level, base: null }, { write: take })
}

function levelNumber(level: LevelWithSilent | (string & {})): number {
  return pino.levels.values[level] ?? Infinity
}

function describe(message: string | undefined, fields: object): string {
  const extra = Object.keys(fields).length > 0 ? JSON.stringify(fields) : ''
  return [message, extra].filter(Boolean).join(' ').replaceAll('\0', '').slice(0, MAX_TEXT_LENGTH).toWellFormed()
}
