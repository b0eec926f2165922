import { reasonOf } from './explain.js'

/** What the broker needs of a logger; pino and Fastify's fit. */
export interface BrokerLog {
  info(details: object, message: string): void
  warn(details: object, message: string): void
}

export interface IncidentLog {
  /** Says at once that this happened, then at most once per interval, with how often it was repeated meanwhile. */
  warn(incident: string, error: unknown): void
}

/**
 * Keeps an outage from flooding the log: clients repeat the same error with every try to reconnect.
 * `incident` is one of a few fixed texts. Only the error's message is logged: errors of ioredis carry whole commands.
 */
export function createIncidentLog(log: BrokerLog, intervalMs = 10_000): IncidentLog {
  const seen = new Map<string, { loggedAt: number; repeats: number }>()
  return {
    warn(incident, error) {
      const now = performance.now()
      const last = seen.get(incident)
      if (last !== undefined && now - last.loggedAt < intervalMs) {
        last.repeats += 1
        return
      }
      seen.set(incident, { loggedAt: now, repeats: 0 })
      log.warn({ reason: reasonOf(error), ...(last?.repeats ? { repeats: last.repeats } : {}) }, incident)
    },
  }
}
