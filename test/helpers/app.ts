/** The web application on real services, listening on its own port; optionally with a worker and a relay. */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { migrateBroker } from '../../src/broker/open-broker.js'
import { loadConfig } from '../../src/config.js'
import { startRelay } from '../../src/relay/relay.js'
import type { ConnectionCounts, ConnectionLimits } from '../../src/web/connections/connections.js'
import type { Identify } from '../../src/web/principal.js'
import { startWeb } from '../../src/web/web.js'
import { startWorker } from '../../src/worker/worker.js'
import {
  hasRedisServer,
  startPostgres,
  startRedis,
  type TestPostgres,
  type TestRedis,
  type TestScope,
} from './services.js'

export interface TestApp {
  address: string
  databaseUrl: string
  postgres: TestPostgres
  /** Undefined on a machine without Redis, where everything runs on PostgreSQL. */
  redis: TestRedis | undefined
  /** Counts the connections of the web process, and the bytes that they hold. */
  counts(): ConnectionCounts
  stopWeb(): Promise<void>
}

/** Starts a second web application on the same services, in this process. */
export async function startWebBeside(
  t: TestScope,
  { databaseUrl, redis }: TestApp,
  variables: Record<string, string>,
): Promise<string> {
  const env = { ...environmentOf(databaseUrl, redis), ...variables }
  const web = await startWeb(loadConfig('web', env), pino({ level: process.env['LOG_LEVEL'] ?? 'silent' }))
  t.teardown(() => web.stop())
  return web.address
}

function environmentOf(databaseUrl: string, redis: TestRedis | undefined) {
  return {
    DATABASE_URL: databaseUrl,
    REDIS_URL: redis?.url,
    PORT: '0',
    ARTIFACTS_DIR: join(tmpdir(), `taskwire-test-artifacts-${process.pid}`),
  }
}

/** Starts the roles in this process. */
export async function startApp(
  t: TestScope,
  roles: readonly ('worker' | 'relay')[] = [],
  variables: Record<string, string> = {},
  limits: Partial<ConnectionLimits> = {},
  identify?: Identify,
): Promise<TestApp> {
  const postgres = await startPostgres(t)
  const redis = (await hasRedisServer()) ? await startRedis(t) : undefined
  if (redis === undefined) await migrateBroker(postgres.url)
  const env = { ...environmentOf(postgres.url, redis), ...variables }
  const log = pino({ level: process.env['LOG_LEVEL'] ?? 'silent' })
  if (roles.includes('relay')) {
    const relay = await startRelay(loadConfig('relay', env), log)
    t.teardown(() => relay.stop())
  }
  if (roles.includes('worker')) {
    const worker = await startWorker(loadConfig('worker', env), log)
    t.teardown(() => worker.stop())
  }
  const web = await startWeb(loadConfig('web', env), log, limits, identify)
  t.teardown(() => web.stop())
  return { address: web.address, databaseUrl: postgres.url, postgres, redis, counts: web.counts, stopWeb: web.stop }
}
