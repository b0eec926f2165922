import { reasonOf } from './explain.js'

/** The part of a logger that the broker needs. pino's and Fastify's loggers fit. */
export interface BrokerLog {
  info(details: object, message: string): void
  warn(details: object, message: string): void
}

export interface IncidentLog {
  /** Logs the first occurrence at once, then at most one per interval, with the number of repeats since. */
  warn(incident: string, error: unknown): void
}

/**
 * Keeps an outage from flooding the log: clients repeat the same error with every reconnect. `incident` is one of a few
 * fixed texts. Only the error's message is logged: ioredis errors carry whole commands.
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
