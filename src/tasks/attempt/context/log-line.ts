/**
 * Parses lines written by a pino logger without a base: `{"level":30,"time":1764151200000,…,"msg":"text"}`.
 *
 * A logged field may have the name of one of the line's own, and JSON with a duplicate name is read as the last one.
 * The line's own level and time come first, so they are taken from its start, and the rest is what was logged.
 * @see https://github.com/pinojs/pino/blob/main/docs/api.md
 */
import { pino } from 'pino'
import type { LogLine } from '../../../protocol/task.js'

export interface ReadLine {
  level: LogLine['level']
  /** Milliseconds since 1970. */
  atMs: number
  message: string
  fields: Record<string, unknown>
}

const START = /^\{"level":(\d+),"time":(\d+)/

/** Never throws: a line that cannot be parsed becomes its own message. */
export function readLogLine(json: string): ReadLine {
  const [start = '', level = pino.levels.values['info'], time = Date.now()] = START.exec(json) ?? []
  const line = { level: nameLevel(Number(level)), atMs: Number(time) }
  try {
    const rest = JSON.parse(`{${json.slice(start.length).replace(/^[,{]/, '')}`) as Record<string, unknown>
    const { msg, ...fields } = rest
    if (typeof msg === 'string' || msg === undefined) return { ...line, message: msg ?? '', fields }
    return { ...line, message: '', fields: rest }
  } catch {
    return { ...line, message: json.trim(), fields: {} }
  }
}

/** The highest level that is not above it: a child logger may have custom levels. */
function nameLevel(number: number): LogLine['level'] {
  const names = Object.entries(pino.levels.values).sort(([, a], [, b]) => b - a)
  return (names.find(([, value]) => value <= number)?.[0] ?? 'trace') as LogLine['level']
}
