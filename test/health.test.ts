/** `taskwire health`, the health check of containers. */
import t from 'tap'
import { migrateBroker } from '../src/broker/open-broker.js'
import { findFreePort } from '../src/services/embedded/server-process.js'
import { MAIN, oneLine, spawnTaskwire } from './helpers/processes.js'
import { hasRedisServer, startPostgres, startRedis, type TestScope } from './helpers/services.js'

const postgres = await startPostgres(t)
await migrateBroker(postgres.url)

/** The settings with Redis, if this machine has it, so that PostgreSQL is checked separately. */
async function redisEnvironment(t: TestScope): Promise<{ REDIS_URL?: string }> {
  return (await hasRedisServer()) ? { REDIS_URL: (await startRedis(t)).url } : {}
}

t.test('if services answer, the exit code is 0 and nothing is printed', async (t) => {
  const redis = await redisEnvironment(t)
  for (const env of [{ DATABASE_URL: postgres.url }, { DATABASE_URL: postgres.url, ...redis }]) {
    const health = spawnTaskwire(t, ['health'], { env })
    t.strictSame(await health.exited, { code: 0, signal: null }, MAIN)
    t.equal(health.output(), '')
  }
})

t.test('if the database does not answer, the exit code is 1 and one line is printed', async (t) => {
  const away = { DATABASE_URL: `postgres://me:secret@127.0.0.1:${await findFreePort()}/x` }
  for (const env of [away, { ...away, ...(await redisEnvironment(t)) }]) {
    const health = spawnTaskwire(t, ['health'], { env })
    t.strictSame(await health.exited, { code: 1, signal: null })
    t.match(oneLine(health.output()), /^taskwire: cannot .*PostgreSQL at 127\.0\.0\.1/)
    t.notMatch(health.output(), 'secret')
  }
})

t.test('if Redis does not answer, the exit code is 1 and one line is printed', async (t) => {
  const env = { DATABASE_URL: postgres.url, REDIS_URL: `redis://127.0.0.1:${await findFreePort()}` }
  const health = spawnTaskwire(t, ['health'], { env })
  t.strictSame(await health.exited, { code: 1, signal: null })
  t.match(oneLine(health.output()), /^taskwire: .*Redis/)
})
