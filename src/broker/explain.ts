/** What failures of a broker say. */

/** What an error says, in words. Node leaves the message empty when all addresses of a name were refused. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error.message !== '') return error.message
  return 'code' in error ? String(error.code) : error.name
}

/** A failure in one line. Its cause stays behind: errors of ioredis carry whole commands, which are not for a log. */
export function explain(what: string, error: unknown): Error {
  return new Error(`${what}: ${reasonOf(error)}`)
}
