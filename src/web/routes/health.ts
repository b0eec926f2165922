/** Is the process alive, and can it serve? Two questions, two answers. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Broker } from '../../broker/broker.js'
import type { Database, Statement } from '../../db/database.js'
import { Health, Readiness } from '../../protocol/http.js'

const PING: Statement = { name: 'ping', text: 'select 1 as answer' }
const DEADLINE_MS = 1_000

export interface HealthDeps {
  db: Database
  broker: Broker
  isStopping(): boolean
  /** Blanks what strangers must not read. */
  hideSecrets(text: string): string
}

export const healthRoutes: FastifyPluginAsyncTypebox<HealthDeps> = async (app, { db, broker, isStopping, hideSecrets }) => {
  app.get('/healthz', { schema: { tags: ['operations'], summary: 'Is the process alive?', response: { 200: Health } } }, async () => {
    return { status: 'ok' as const }
  })

  app.get(
    '/readyz',
    {
      schema: {
        tags: ['operations'],
        summary: 'Can it serve?',
        description: 'A round trip to PostgreSQL and to the broker.',
        response: { 200: Readiness, 503: Readiness },
      },
    },
    async (_request, reply) => {
      const [postgres, redis] = await Promise.all([
        check(() => withDeadline(db.run(PING, [])), hideSecrets),
        check(() => broker.ping({ deadlineMs: DEADLINE_MS }), hideSecrets),
      ])
      const isOk = postgres.status === 'ok' && redis.status === 'ok' && !isStopping()
      const status = isStopping() ? ('stopping' as const) : isOk ? ('ok' as const) : ('failed' as const)
      reply.code(isOk ? 200 : 503)
      return { status, checks: { postgres, broker: redis } }
    },
  )
}

type Check = Readiness['checks']['postgres']

async function check(trip: () => Promise<unknown>, hideSecrets: (text: string) => string): Promise<Check> {
  try {
    await trip()
    return { status: 'ok' }
  } catch (error) {
    return { status: 'failed', detail: error instanceof Error && error.message ? hideSecrets(error.message) : 'does not answer' }
  }
}

async function withDeadline<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${DEADLINE_MS} ms`)), DEADLINE_MS)
  })
  return Promise.race([work, deadline]).finally(() => clearTimeout(timer))
}
