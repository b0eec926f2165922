/** Turns broker failures into short texts. */

/** An error's reason as text. Node leaves the message empty when every address of a host refused the connection. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error.message !== '') return error.message
  return 'code' in error ? String(error.code) : error.name
}

/** A failure as one line. Drops the cause: ioredis errors carry whole commands, which do not belong in a log. */
export function explain(what: string, error: unknown): Error {
  return new Error(`${what}: ${reasonOf(error)}`)
}
