/** A report on the stored tasks: an example of a handler that reads the database and reports progress by section. */
import { pipeline } from 'node:stream/promises'
import { Type, type Static } from 'typebox'
import { defineTask } from '../definitions/definition.js'
import { PermanentFailure } from '../definitions/outcome-errors.js'
import { STATUSES, type Status } from '../protocol/status.js'
import { Instant, TaskType } from '../protocol/task.js'
import {
  countReportedTasks,
  groupReportedFailures,
  measureReportedTasks,
  readReportPeriod,
  type ReportedCount,
  type ReportedTimes,
} from '../store/reads/report.js'
import { checkPeriod } from './check-period.js'
import { renderReport } from './report-html.js'
import { MAX_FAILURES, ReportResult, type TypeFigures } from './report-result.js'

const SECTIONS = 4

export const reportGenerate = defineTask({
  type: 'report.generate',
  title: 'Report on tasks',
  description:
    'Counts the tasks created in a period by status and type, with run times, wait times and the most frequent ' +
    'failures. Creates a page with charts and a JSON file. The report itself is a task, and is counted if it falls into the period.',
  payload: Type.Object(
    {
      from: Type.Optional({
        ...Instant,
        title: 'From',
        description: 'Start of the period; 24 hours before its end if omitted.',
      }),
      to: Type.Optional({ ...Instant, title: 'To', description: 'End of the period, exclusive; now if omitted.' }),
      type: Type.Optional({
        ...TaskType,
        title: 'Type',
        description: 'Only tasks of this type; all types if omitted.',
      }),
    },
    { additionalProperties: false },
  ),
  result: ReportResult,
  // An omitted time is known only when the report starts.
  checkPayload: ({ from, to }) => checkPeriod({ from, to }, '/to'),

  async run({ from, to, type }, { db, principal, signal, progress, artifact }) {
    const period = await readReportPeriod(db, from ?? null, to ?? null)
    if (period.from >= period.to) {
      throw new PermanentFailure(
        `the period is empty: from (${period.from.toISOString()}) must be before to (${period.to.toISOString()}). ` +
          'If omitted, to is now and from is 24 hours before to.',
      )
    }
    const scope = { from: period.from, to: period.to, type }
    progress(1, SECTIONS, 'counting tasks')

    signal.throwIfAborted()
    const counts = await countReportedTasks(principal, db, scope)
    progress(2, SECTIONS, 'measuring run and wait times')

    signal.throwIfAborted()
    const timings = await measureReportedTasks(principal, db, scope)
    progress(3, SECTIONS, 'grouping failures')

    signal.throwIfAborted()
    const failures = await groupReportedFailures(principal, db, scope, MAX_FAILURES)
    progress(4, SECTIONS, 'done')

    const report = {
      period: { from: period.from.toISOString(), to: period.to.toISOString() },
      generatedAt: period.now.toISOString(),
      total: sumOf(counts),
      byStatus: Object.fromEntries(STATUSES.map((status) => [status, sumOf(counts, status)])),
      byType: groupByType(counts, timings),
      failures: failures.map((row) => ({ ...row, lastAt: row.lastAt?.toISOString() ?? null })),
    }
    await pipeline([JSON.stringify(report, null, 2)], artifact('report.json', { mediaType: 'application/json' }))
    await pipeline([renderReport(report)], artifact('report.html', { mediaType: 'text/html; charset=utf-8' }))
    return report
  },
})

function sumOf(counts: readonly ReportedCount[], status?: Status): number {
  return counts.reduce((sum, row) => (status === undefined || row.status === status ? sum + row.count : sum), 0)
}

function groupByType(
  counts: readonly ReportedCount[],
  timings: readonly ReportedTimes[],
): Static<typeof TypeFigures>[] {
  return [...new Set(counts.map((row) => row.type))].map((type) => {
    const ofType = counts.filter((row) => row.type === type)
    const times = timings.find((row) => row.type === type)
    return {
      type,
      total: sumOf(ofType),
      completed: sumOf(ofType, 'COMPLETED'),
      failed: sumOf(ofType, 'FAILED'),
      durationMs: times?.durationMs ?? null,
      waitMs: times?.waitMs ?? null,
    }
  })
}
