/**
 * `taskwire doctor`: looks at everything the promise rests on, and with `--fix` mends what can be mended. Safe while
 * everything runs, and to be run again.
 */
import { openBroker } from '../broker/open-broker.js'
import { countMissingMigrations, migrateDatabase } from '../db/migrate.js'
import { openDatabase } from '../db/open.js'
import { findFaults, mendFaults, readPulse } from '../store/deliveries/inspect.js'

/** Clocks of servers may differ so much before it is worth a word. Nothing that Taskwire decides hangs on it. */
const MAX_SKEW_MS = 2_000

const SUPERUSER_WARNING =
  'the role of DATABASE_URL is superuser: SQL that reaches it can read files and run programs on the server. Use a role that owns its database and no more, see docs/operations.md'

export interface Finding {
  /** `bad`: something needs doing. `warn`: tasks move, but something should be changed. */
  state: 'ok' | 'warn' | 'bad' | 'mended'
  text: string
}

export interface DoctorOptions {
  databaseUrl: string
  redisUrl?: string | undefined
  shouldFix: boolean
}

/** What was found, in the order of the look. Rejects only for reasons that are not the patient's. */
export async function examine({ databaseUrl, redisUrl, shouldFix }: DoctorOptions): Promise<Finding[]> {
  const schema = await examineSchema(databaseUrl, shouldFix)
  // Without its tables there is nothing more to see.
  const tasks = schema.state === 'bad' ? [] : await examineTasks(databaseUrl, shouldFix)
  return [schema, ...tasks, ...(await examineBroker(databaseUrl, redisUrl, shouldFix))]
}

async function examineSchema(databaseUrl: string, shouldFix: boolean): Promise<Finding> {
  try {
    const count = await countMissingMigrations(databaseUrl)
    if (count === 0) return ok('the database has every migration')
    if (count < 0) return bad(`the database has ${-count} migrations that this version does not know: update Taskwire`)
    if (!shouldFix) return bad(`the database lacks ${count} migrations: run "taskwire migrate"`)
    await migrateDatabase(databaseUrl)
    return mended(`applied ${count} migrations`)
  } catch (error) {
    return bad(messageOf(error))
  }
}

async function examineTasks(databaseUrl: string, shouldFix: boolean): Promise<Finding[]> {
  const db = openDatabase(databaseUrl, { applicationName: 'taskwire doctor', maxConnections: 1 })
  try {
    const askedAtMs = Date.now()
    const { server, clockMs, overdueDeliveries, overdueLeases, isSuperuser } = await readPulse(db)
    const findings = [describeClock(`PostgreSQL ${server}`, clockMs, askedAtMs)]
    if (isSuperuser) findings.push(warn(SUPERUSER_WARNING))
    const faults = await findFaults(db)
    if (faults.length === 0) findings.push(ok('every task that has not ended has what moves it on'))
    else if (shouldFix) await mendFaults(db, faults)
    const state = shouldFix ? mended : bad
    findings.push(...faults.map(({ count, text }) => state(`${count} ${text}`)))
    if (overdueDeliveries > 0) findings.push(bad(`${overdueDeliveries} deliveries have been due for a minute: does a relay run, and a worker?`))
    if (overdueLeases > 0) findings.push(bad(`${overdueLeases} attempts lost their worker and are not rescued: does a relay run?`))
    return findings
  } finally {
    await db.close()
  }
}

async function examineBroker(databaseUrl: string, redisUrl: string | undefined, shouldFix: boolean): Promise<Finding[]> {
  try {
    const broker = await openBroker({ redisUrl, databaseUrl, log: { info() {}, warn() {} } })
    try {
      const askedAtMs = Date.now()
      const { server, clockMs, waitingJobs, faults } = await broker.inspect()
      const findings = [describeClock(`${server} as the broker`, clockMs, askedAtMs), ok(`${waitingJobs} jobs wait in the broker`)]
      if (faults.length === 0) return findings
      if (!shouldFix) return [...findings, ...faults.map((fault) => bad(`${server}: ${fault}`))]
      return [...findings, ...(await broker.mend()).map(mended)]
    } finally {
      await broker.close()
    }
  } catch (error) {
    return [bad(messageOf(error))]
  }
}

function describeClock(server: string, clockMs: number, askedAtMs: number): Finding {
  const skewMs = clockMs - (askedAtMs + Date.now()) / 2
  const seconds = `${(Math.abs(skewMs) / 1_000).toFixed(1)} s ${skewMs > 0 ? 'ahead of' : 'behind'} this machine`
  return Math.abs(skewMs) <= MAX_SKEW_MS ? ok(`${server} answers`) : bad(`${server} answers; its clock is ${seconds}`)
}

const ok = (text: string): Finding => ({ state: 'ok', text })
const warn = (text: string): Finding => ({ state: 'warn', text })
const bad = (text: string): Finding => ({ state: 'bad', text })
const mended = (text: string): Finding => ({ state: 'mended', text })

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
