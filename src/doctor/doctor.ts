/**
 * `taskwire doctor`: checks everything that Taskwire's guarantees rest on. With `--fix` it also fixes what it can. Safe
 * to run at any time, and repeatedly.
 */
import { openBroker } from '../broker/open-broker.js'
import type { Database } from '../db/database.js'
import { countMissingMigrations, migrateDatabase } from '../db/migrate.js'
import { openDatabase } from '../db/open.js'
import { findFaults, repairFaults, readPulse } from '../store/deliveries/inspect.js'
import { listWaitingQueues } from '../store/deliveries/take-due.js'
import { listQuarantinedTypes } from '../store/quarantine.js'
import { listOldPauses } from '../store/release/pauses.js'
import { listWorkers } from '../store/workers.js'

/** Clock differences up to this are not reported. No decision of Taskwire depends on them. */
const MAX_SKEW_MS = 2_000

const SUPERUSER_WARNING =
  'the role of DATABASE_URL is a superuser, so injected SQL could read files and run programs on the server. Use a role that only owns its database, see docs/operations.md'

export interface Finding {
  /** `bad`: needs fixing. `warn`: tasks still run, but something should be changed. */
  state: 'ok' | 'warn' | 'bad' | 'fixed'
  text: string
}

export interface DoctorOptions {
  databaseUrl: string
  redisUrl?: string | undefined
  shouldFix: boolean
}

/** The findings, in the order of the checks. Rejects only for reasons that have nothing to do with the installation. */
export async function examine({ databaseUrl, redisUrl, shouldFix }: DoctorOptions): Promise<Finding[]> {
  const schema = await examineSchema(databaseUrl, shouldFix)
  // Without the tables there is nothing else to check.
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
    return fixed(`applied ${count} migrations`)
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
    if (faults.length === 0) findings.push(ok('every unfinished task has the delivery or lease that it needs'))
    else if (shouldFix) await repairFaults(db, faults)
    const state = shouldFix ? fixed : bad
    findings.push(...faults.map(({ count, text }) => state(`${count} ${text}`)))
    if (overdueDeliveries > 0)
      findings.push(
        bad(`${overdueDeliveries} deliveries have been due for a minute. Check that a relay and a worker are running.`),
      )
    if (overdueLeases > 0)
      findings.push(
        bad(`${overdueLeases} attempts lost their worker and were not rescued. Check that a relay is running.`),
      )
    return [...findings, ...(await examineWorkers(db)), ...(await examinePauses(db))]
  } finally {
    await db.close()
  }
}

/** Whether each queue in which tasks wait is served. */
async function examineWorkers(db: Database): Promise<Finding[]> {
  const workers = await listWorkers(db)
  const waiting = await listWaitingQueues(db)
  const taking = workers.filter(({ state }) => state === 'running')
  const served = new Set(taking.flatMap(({ queues }) => queues.map(({ name }) => name)))
  const draining = new Set(
    workers.filter(({ state }) => /^drain/.test(state)).flatMap(({ queues }) => queues.map(({ name }) => name)),
  )
  const unserved = waiting.filter((queue) => !served.has(queue))
  const count = (state: string) => workers.filter((worker) => worker.state === state).length
  const others = ['draining', 'drained', 'stopping', 'lost'].filter((state) => count(state) > 0)
  const described = [
    `${taking.length} ${taking.length === 1 ? 'worker takes' : 'workers take'} tasks`,
    ...others.map((state) => `${count(state)} ${state}`),
  ]
  const quarantined = await listQuarantinedTypes(db)
  return [
    ok(described.join(', ')),
    ...unserved.map((queue) =>
      // Workers may be started for the time of the tasks only. What is overdue is reported as a fault.
      warn(
        `tasks wait in the queue ${queue}, and no worker takes tasks from it. ${
          draining.has(queue)
            ? 'The workers that serve it are draining: resume one of them, or start another.'
            : 'Start one, or add the queue to WORKER_QUEUES.'
        }`,
      ),
    ),
    ...quarantined.map(({ type, reason, until }) =>
      warn(
        `tasks of the type ${type} run in processes of their own until ${until}, because one of them ended its process: ${reason}`,
      ),
    ),
  ]
}

/** Pauses that may have been forgotten. */
async function examinePauses(db: Database): Promise<Finding[]> {
  return (await listOldPauses(db)).map(({ kind, name, setBy, setAt, reason }) =>
    warn(
      `the ${kind} ${name} has been paused since ${setAt} by ${setBy}${reason === null ? '' : ` (${reason})`}. If that is no longer needed: DELETE /api/pauses/${kind}/${encodeURIComponent(name)}`,
    ),
  )
}

async function examineBroker(
  databaseUrl: string,
  redisUrl: string | undefined,
  shouldFix: boolean,
): Promise<Finding[]> {
  try {
    const broker = await openBroker({ redisUrl, databaseUrl, log: { info() {}, warn() {} } })
    try {
      const askedAtMs = Date.now()
      const { server, clockMs, waitingJobs, faults } = await broker.inspect()
      const findings = [
        describeClock(`${server} as the broker`, clockMs, askedAtMs),
        ok(`${waitingJobs} jobs are waiting in the broker`),
      ]
      if (faults.length === 0) return findings
      if (!shouldFix) return [...findings, ...faults.map((fault) => bad(`${server}: ${fault}`))]
      return [...findings, ...(await broker.repair()).map(fixed)]
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
const fixed = (text: string): Finding => ({ state: 'fixed', text })

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
