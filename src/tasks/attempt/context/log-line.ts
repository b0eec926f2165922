/**
 * Reads what a pino logger without a base has written: `{"level":30,"time":1764151200000,…,"msg":"text"}`.
 *
 * A field may have the name of something the line has itself, and JSON with a name twice is read as the last one. The level and time of
 * the line are the first things in it, so they are taken from there, and the rest is what was logged.
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

/** Never throws: a line that cannot be read is its own message. */
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

/** The highest level that is not above it: a child logger may have levels of its own. */
function nameLevel(number: number): LogLine['level'] {
  const names = Object.entries(pino.levels.values).sort(([, a], [, b]) => b - a)
  return (names.find(([, value]) => value <= number)?.[0] ?? 'trace') as LogLine['level']
}
