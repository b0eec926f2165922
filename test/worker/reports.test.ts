/** A handler that reports progress in a loop: the cost is bounded, and its last report arrives. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { createLog } from '../../src/log.js'
import { claimAttemptsIfDue } from '../../src/store/attempts/claim.js'
import type { ProgressReport } from '../../src/store/attempts/progress.js'
import { readTasks } from '../../src/store/reads/tasks.js'
import { createRecorder } from '../../src/tasks/attempt/recorder.js'
import type { FromChild } from '../../src/worker/isolation/messages.js'
import { createReporter, REPORT_PAUSE_MS } from '../../src/worker/isolation/reporter.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const CALLS = 10_000
const reportOf = (done: number, taskId = 'a'): ProgressReport => ({
  taskId,
  attempt: 1,
  progress: { fraction: done / CALLS, done, total: CALLS, message: null },
})

/** The most reports that may have been sent since then: one for each pause, and one at either end. */
const mostSince = (startedAtMs: number) => (performance.now() - startedAtMs) / REPORT_PAUSE_MS + 2

t.test(
  'only a few of many reports from a handler in its own process are sent, the latest before the next other message',
  async (t) => {
    const sent: FromChild[] = []
    const reporter = createReporter((message) => sent.push(message))
    const startedAtMs = performance.now()
    for (let done = 1; done <= CALLS; done += 1) {
      reporter.alive()
      reporter.progress(reportOf(done))
    }
    reporter.send({ type: 'returned', result: null })
    t.ok(sent.length <= 2 * mostSince(startedAtMs) + 1, `${sent.length} messages`)
    t.match(sent.slice(-2), [{ type: 'progress', report: { progress: { done: CALLS } } }, { type: 'returned' }])
    const count = sent.length
    await sleep(3 * REPORT_PAUSE_MS)
    t.equal(sent.length, count, 'nothing is sent after the end')
  },
)

t.test(
  'a handler that blocks its event loop still reports, and its last report is sent when the loop is free',
  async (t) => {
    const sent: FromChild[] = []
    const reporter = createReporter((message) => sent.push(message))
    const startedAtMs = performance.now()
    let done = 0
    while (performance.now() - startedAtMs < 5 * REPORT_PAUSE_MS) reporter.progress(reportOf((done += 1)))
    t.ok(sent.length >= 3, `${sent.length} messages from a loop without a pause`)
    while ((sent.at(-1) as { report: ProgressReport }).report.progress.done !== done) await sleep(5)
    t.match(sent.at(-1), { type: 'progress', report: { progress: { done } } })
  },
)

t.test('only a few of many reports from a handler in the worker are written, including the last one', async (t) => {
  const postgres = await startPostgres(t)
  const db = await openTestDatabase(t, postgres.url)
  const [taskId = ''] = await storeTasks(db, 1)
  await claimAttemptsIfDue(db, [{ taskId, attempt: 1 }], 'a worker', 60_000)
  let writes = 0
  const counted = { ...db, run: ((statement, values) => ((writes += 1), db.run(statement, values))) as typeof db.run }
  const published: unknown[] = []
  const recorder = createRecorder({
    db: counted,
    publish: (events) => void published.push(...events),
    log: createLog({ name: 'test', level: 'silent' }),
    worker: 'a worker',
    leaseMs: 60_000,
  })
  const startedAtMs = performance.now()
  for (let done = 1; done <= CALLS; done += 1) {
    recorder.progress(reportOf(done, taskId))
    // The handler waits now and then, as real handlers do.
    if (done % 100 === 0) await sleep(1)
  }
  await recorder.flush(taskId)
  t.ok(writes <= mostSince(startedAtMs) + 1, `${writes} writes for ${CALLS} reports`)
  t.ok(published.length <= writes, `${published.length} events`)
  t.match((await readTasks(DEFAULT_PRINCIPAL, db, [taskId]))[0]?.progress, { done: CALLS })
})
