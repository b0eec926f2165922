/** Two questions with separate answers: is the process alive, and can it serve? */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { DiskFloor } from '../../artifacts/disk-floor.js'
import type { Broker } from '../../broker/broker.js'
import type { Database, Statement } from '../../db/database.js'
import { Health, Readiness } from '../../protocol/http.js'
import { withDeadline } from '../../timing/deadline.js'

const PING: Statement = { name: 'ping', text: 'select 1 as answer' }
const DEADLINE_MS = 1_000
const LATE = `no answer within ${DEADLINE_MS} ms`

export interface HealthDeps {
  db: Database
  broker: Broker
  floor: DiskFloor
  isStopping(): boolean
  /** Removes what strangers must not read. */
  hideSecrets(text: string): string
}

export const healthRoutes: FastifyPluginAsyncTypebox<HealthDeps> = async (
  app,
  { db, broker, floor, isStopping, hideSecrets },
) => {
  app.get(
    '/healthz',
    {
      schema: {
        tags: ['operations'],
        operationId: 'readHealth',
        summary: 'Check that the process is alive',
        response: { 200: Health },
      },
    },
    async () => {
      return { status: 'ok' as const }
    },
  )

  app.get(
    '/readyz',
    {
      schema: {
        tags: ['operations'],
        operationId: 'readReadiness',
        summary: 'Check that the process can serve requests',
        description:
          'Makes a round trip to PostgreSQL and to the broker. While a disk has less than MIN_FREE_DISK_MB free, `status` is `degraded` and ' +
          '`checks.disk` names it: files are refused, tasks are accepted. The answer stays 200, because all processes share that disk, ' +
          'and a load balancer that removed them would refuse tasks as well.',
        response: { 200: Readiness, 503: Readiness },
      },
    },
    async (_request, reply) => {
      const [postgres, redis, disk] = await Promise.all([
        check(() => withDeadline(db.run(PING, []), DEADLINE_MS, LATE), hideSecrets),
        check(() => broker.ping({ deadlineMs: DEADLINE_MS }), hideSecrets),
        checkDisk(floor),
      ])
      const isOk = postgres.status === 'ok' && redis.status === 'ok' && !isStopping()
      const status = isStopping()
        ? ('stopping' as const)
        : !isOk
          ? ('failed' as const)
          : disk.status === 'low'
            ? ('degraded' as const)
            : ('ok' as const)
      reply.code(isOk ? 200 : 503)
      return { status, checks: { postgres, broker: redis, disk } }
    },
  )
}

type Check = Readiness['checks']['postgres']

async function check(trip: () => Promise<unknown>, hideSecrets: (text: string) => string): Promise<Check> {
  try {
    await trip()
    return { status: 'ok' }
  } catch (error) {
    return {
      status: 'failed',
      detail: error instanceof Error && error.message ? hideSecrets(error.message) : 'does not answer',
    }
  }
}

async function checkDisk(floor: DiskFloor): Promise<Readiness['checks']['disk']> {
  // A disk that does not answer, such as a network disk, delays nothing here; the code that uses it reports the error.
  const low = await withDeadline(floor.findLow(), DEADLINE_MS, LATE).catch(() => [])
  return low.length === 0 ? { status: 'ok' } : { status: 'low', detail: low.join('; ') }
}
