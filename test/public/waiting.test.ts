/** What the page of a task says while it waits. */
import t from 'tap'
import { describeStanding } from '../../public/format/standing.js'
import { describeOutlook, describeStart, findWaiting } from '../../public/format/waiting.js'
import type { TaskSummary } from '../../src/protocol/task.js'
import { WAITING_CODES, type WaitingFor } from '../../src/protocol/waiting.js'
import { STATUSES } from '../../src/protocol/status.js'

const NOW = Date.parse('2026-11-27T12:00:00.000Z')
const inSeconds = (seconds: number) => new Date(NOW + seconds * 1_000).toISOString()
const waits = (changes: Partial<WaitingFor> = {}): WaitingFor => ({
  code: 'paused',
  text: 'the type report.generate is paused by anna: mail server moves',
  until: null,
  taskIds: [],
  ahead: null,
  start: null,
  ...changes,
})
const start = (earliest: number, likely: number, latest: number) =>
  describeStart({ earliestAt: inSeconds(earliest), at: inSeconds(likely), latestAt: inSeconds(latest) }, NOW)

t.test('the reason of the server replaces the general sentence, until the task starts', async (t) => {
  const describe = (status: string, waitingFor?: WaitingFor | null, runAt: string | null = null) =>
    describeStanding(
      { status, waitingFor, startedAt: null, finishedAt: null, runAt } as TaskSummary & {
        waitingFor?: WaitingFor | null
      },
      inSeconds(-5),
      NOW,
    )
  t.equal(describe('PENDING', waits()), 'The type report.generate is paused by anna: mail server moves')
  t.equal(describe('PENDING', waits({ text: 'others are ahead of it.' })), 'Others are ahead of it')
  t.equal(describe('PENDING'), 'Waiting for a worker for 5 s', 'a server of an earlier version')
  t.equal(describe('PENDING', null), 'Waiting for a worker for 5 s')
  const until = waits({ text: 'paused until 2026-11-27T12:00:20.000Z: why' })
  t.match(describe('PENDING', until), /^Paused until (?!.*T12)\S.*\d\d:20: why$/, 'times are in the zone of the reader')
  const due = waits({ code: 'run_time', text: 'it is to start at 2026-11-27T12:00:20.000Z' })
  t.equal(describe('SCHEDULED', due, inSeconds(20)), 'Starts in 20 s', 'a time that is known is counted down')
  const waiting = STATUSES.filter((status) => findWaiting({ status, waitingFor: waits() }) !== undefined)
  t.same(waiting, ['SCHEDULED', 'WAITING', 'PENDING', 'RETRYING'], 'no task that runs or has ended waits')
})

t.test('an estimate is a likely time and a range, in one unit', async (t) => {
  t.equal(start(60, 120, 300), 'Starts in about 2 minutes (1 to 5).')
  t.equal(start(5, 20, 65), 'Starts in about 20 seconds (5 to 65).')
  t.equal(start(0.2, 1, 1), 'Starts in about 1 second (0 to 1).')
  t.equal(start(7_200, 7_200, 7_200), 'Starts in about 2 hours.', 'no range where there is none')
  t.equal(start(86_400, 3 * 86_400, 9 * 86_400), 'Starts in about 3 days (1 to 9).')
  t.equal(start(1, 110, 119), 'Starts in about 2 minutes (0 to 2).')
})

t.test('an estimate that has passed promises nothing', async (t) => {
  t.equal(start(-20, -1, 40), 'It should start within 40 seconds.')
  t.equal(start(-20, -10, -1), 'It should start any moment now.')
})

t.test('the outlook says how many are ahead of it, and when what it waits for ends', async (t) => {
  t.equal(describeOutlook(waits(), NOW), '')
  t.equal(describeOutlook(waits({ until: inSeconds(180) }), NOW), 'The pause ends in 3 min.')
  t.equal(describeOutlook(waits({ ahead: 0 }), NOW), 'It is next.')
  t.equal(describeOutlook(waits({ ahead: 1 }), NOW), 'About 1 task ahead of it.')
  t.equal(
    describeOutlook(
      waits({
        code: 'turn',
        ahead: 1_200,
        start: { at: inSeconds(120), earliestAt: inSeconds(60), latestAt: inSeconds(300) },
      }),
      NOW,
    ),
    'About 1,200 tasks ahead of it. Starts in about 2 minutes (1 to 5).',
  )
  for (const code of WAITING_CODES.filter((each) => each !== 'run_time' && each !== 'backoff'))
    t.match(describeOutlook(waits({ code, until: inSeconds(10) }), NOW), /in 10 s\.$/, `${code} says when it ends`)
})
