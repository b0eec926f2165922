/** Logs each refused name once, so that a page that retries, or an attacker with many names, cannot fill the log. */
import type { FastifyBaseLogger } from 'fastify'

/** The maximum number of names that are remembered, and so logged. */
const MAX_NAMES = 200
const MAX_NAME_LENGTH = 200

/** @returns a function that logs `fields` and `text`, once for each `name` */
export function createRefusalLog(
  log: FastifyBaseLogger,
): (name: string, fields: Record<string, unknown>, text: string) => void {
  const names = new Set<string>()
  return (given, fields, text) => {
    const name = given.slice(0, MAX_NAME_LENGTH)
    if (names.has(name) || names.size >= MAX_NAMES) return
    names.add(name)
    log.warn({ ...fields, refused: name }, text)
    if (names.size === MAX_NAMES) log.warn(`${MAX_NAMES} names have been refused; no further ones are logged`)
  }
}
