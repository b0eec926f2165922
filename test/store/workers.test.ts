/** Workers and quarantined types, on both drivers. */
import t from 'tap'
import { listQuarantinedTypes, quarantineType } from '../../src/store/quarantine.js'
import { drainWorker, forgetWorker, listWorkers, recordHeartbeat, resumeWorker } from '../../src/store/workers.js'
import { DRIVERS, openTestDatabase } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const server = await startPostgres(t)
const LEASE_MS = 60_000
const report = {
  host: 'host "a"',
  pid: 1,
  version: '1.0.0',
  types: ['demo.sleep', 'own.type'],
  queues: [{ name: 'default', slots: 4, running: 2 }],
  isStopping: false,
  isDraining: false,
}

for (const driver of DRIVERS)
  t.test(`on ${driver}`, async (t) => {
    const db = await openTestDatabase(t, await server.createDatabase(), driver)

    t.test('a heartbeat writes what is listed, and answers what the worker is to know', async (t) => {
      t.same(await recordHeartbeat(db, { ...report, id: 'a' }, LEASE_MS), { shouldDrain: false, quarantinedTypes: [] })
      t.match(await listWorkers(db), [
        { id: 'a', state: 'running', types: report.types, queues: report.queues, running: 2, drain: null },
      ])
      await quarantineType(db, 'own.type', 'exit code 3', LEASE_MS)
      await quarantineType(db, 'demo.sleep', 'over', -1)
      await drainWorker(db, 'a', { by: 'me', reason: null })
      t.same(await recordHeartbeat(db, { ...report, id: 'a' }, LEASE_MS), {
        shouldDrain: true,
        quarantinedTypes: ['own.type'],
      })
      t.match(await listQuarantinedTypes(db), [{ type: 'own.type', reason: 'exit code 3' }])
    })

    t.test('the state follows from the request to drain, the report and the lease', async (t) => {
      const stateAfter = async (changes: Partial<typeof report>, leaseMs = LEASE_MS) => {
        await recordHeartbeat(db, { ...report, ...changes, id: 'a' }, leaseMs)
        return (await listWorkers(db))[0]?.state
      }
      const idle = { queues: [{ name: 'default', slots: 4, running: 0 }] }
      t.equal(await stateAfter({}), 'draining')
      t.equal(await stateAfter(idle), 'draining', 'it does not know yet')
      t.equal(await stateAfter({ ...idle, isDraining: true }), 'drained')
      t.equal(await stateAfter({ ...idle, isDraining: true, isStopping: true }), 'stopping')
      t.equal(await stateAfter(idle, -1), 'lost')
      t.match(await resumeWorker(db, 'a'), { state: 'lost', drain: null })
      t.equal(await stateAfter(idle), 'running')
    })

    t.test('a quarantine is prolonged, never shortened', async (t) => {
      const before = await listQuarantinedTypes(db)
      await quarantineType(db, 'own.type', 'again', 1_000)
      t.match(await listQuarantinedTypes(db), [{ reason: 'again', since: before[0]?.since, until: before[0]?.until }])
    })

    t.test('an unknown worker is neither drained nor resumed, and one that stops is forgotten', async (t) => {
      t.equal(await drainWorker(db, 'b', { by: 'me', reason: null }), undefined)
      t.equal(await resumeWorker(db, 'b'), undefined)
      await forgetWorker(db, 'a')
      t.same(await listWorkers(db), [])
    })
  })
