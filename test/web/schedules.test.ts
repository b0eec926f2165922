/** The routes of schedules: what they answer, and what they refuse. */
import t from 'tap'
import type { BackfillAnswer, ScheduleDetail, SchedulePage, SlotPage } from '../../src/protocol/schedule.js'
import type { Problem } from '../../src/protocol/errors.js'
import { startApp } from '../helpers/app.js'

const { address } = await startApp(t, [], { QUEUES: 'reports' })

async function call<Body>(method: string, path: string, body?: unknown): Promise<{ status: number; body: Body }> {
  const answer = await fetch(`${address}/api/schedules${path}`, {
    method,
    ...(body !== undefined && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  return { status: answer.status, body: (text === '' ? undefined : JSON.parse(text)) as Body }
}

t.test('a schedule is set, read, listed, changed, paused, run and deleted', async (t) => {
  const set = await call<ScheduleDetail>('PUT', '/nightly', {
    cron: '0 3 * * *',
    timeZone: 'Europe/Berlin',
    task: { title: 'nightly report', payload: { steps: 1 } },
    reason: 'asked for by sales',
  })
  t.equal(set.status, 200)
  t.match(set.body, {
    ...{ name: 'nightly', cron: '0 3 * * *', everyMs: null, at: null, timeZone: 'Europe/Berlin', gap: 'run' },
    ...{ overlap: 'allow', catchUp: 'last', maxCatchUp: 100, spreadMs: 0, pauseAfterFailures: null, paused: null },
    ...{ words: 'At 03:00, Europe/Berlin', lastSlot: null, failures: 0, source: 'api', code: null, setBy: 'anonymous' },
    ...{ reason: 'asked for by sales', task: { title: 'nightly report', payload: { steps: 1 } } },
  })
  t.equal(set.body.nextRuns.length, 10)
  t.equal(set.body.nextRuns[0]?.at, set.body.nextSlot)
  for (const { local } of set.body.nextRuns) t.match(local, / 03:00:00 \+0[12]:00$/)
  t.same((await call('GET', '/nightly')).body, set.body)
  t.match((await call('GET', '')).body, { items: [{ name: 'nightly' }], nextCursor: null })

  t.match(await call('POST', '/nightly/pause', { reason: 'holidays' }), {
    status: 200,
    body: { paused: { by: 'anonymous', reason: 'holidays' } },
  })
  t.match(await call('POST', '/nightly/pause'), { status: 200, body: { paused: { reason: null } } })
  const { taskId } = (await call<{ taskId: string }>('POST', '/nightly/run')).body
  const task = await (await fetch(`${address}/api/tasks/${taskId}`)).json()
  t.match(task, { title: 'nightly report', payload: { steps: 1 }, schedule: { name: 'nightly', previousSlot: null } })
  t.match((await call('GET', '/nightly/slots')).body, {
    items: [{ origin: 'run', outcome: 'created', taskId, status: 'PENDING' }],
    nextCursor: null,
  })
  t.match(await call('POST', '/nightly/resume'), { status: 200, body: { paused: null, lastSlot: { taskId } } })

  t.match(await call('PUT', '/nightly', { everyMs: 60_000, task: {} }), {
    status: 200,
    body: { cron: null, everyMs: 60_000, words: 'Every minute', reason: null },
  })
  t.match(await call('POST', '/nightly/reset'), { status: 409, body: { code: 'schedule_not_of_code' } })
  t.match(await call('DELETE', '/nightly'), { status: 204 })
  t.match((await call('GET', '/nightly/slots')).body, { items: [{ taskId }] }, 'the history stays')
  t.match(await call('GET', '/unknown/slots'), { status: 404, body: { code: 'not_found' } })
  for (const [method, path] of [
    ['DELETE', '/nightly'],
    ['GET', '/nightly'],
    ['POST', '/nightly/run'],
    ['POST', '/nightly/pause'],
    ['POST', '/nightly/resume'],
    ['POST', '/nightly/reset'],
  ] as const)
    t.match(await call(method, path), { status: 404, body: { code: 'not_found' } }, `${method} ${path}`)
})

const DAY = { cron: '0 3 * * *', task: {} }
const WRONG: [what: string, body: object, status: number, pointer: string, detail?: RegExp][] = [
  ['no rule', { task: {} }, 422, '/cron', /is missing, and so are everyMs and at/],
  ['two rules', { ...DAY, everyMs: 60_000 }, 422, '/everyMs', /cannot be combined with cron/],
  ['no task', { cron: '0 3 * * *' }, 400, '/task'],
  ['no expression', { cron: 'every day', task: {} }, 422, '/cron', /is not a cron expression/],
  ['a field out of bounds', { cron: '60 * * * *', task: {} }, 422, '/cron', /Invalid value for minute: 60/],
  ['seven fields', { cron: '* * * * * * *', task: {} }, 422, '/cron'],
  ['a date that there is not', { cron: '0 0 30 2 *', task: {} }, 422, '/cron', /fits no date/],
  ['an empty expression', { cron: '', task: {} }, 400, '/cron'],
  ['a long expression', { cron: '1,'.repeat(150), task: {} }, 400, '/cron'],
  ['an unknown time zone', { ...DAY, timeZone: 'Mars/Olympus' }, 422, '/timeZone', /is not a time zone/],
  ['an interval too short', { everyMs: 999, task: {} }, 400, '/everyMs'],
  ['an anchor without an interval', { ...DAY, anchor: '2026-01-01T00:00:00Z' }, 422, '/anchor'],
  ['a gap without an expression', { everyMs: 60_000, gap: 'skip', task: {} }, 422, '/gap'],
  ['a time in the past', { at: '2020-01-01T00:00:00Z', task: {} }, 422, '/at'],
  ['a year that is not shown', { at: '9999-12-31T23:59:59-01:00', task: {} }, 422, '/at'],
  ['an end in the past', { ...DAY, endsAt: '2020-01-01T00:00:00Z' }, 422, '/endsAt'],
  [
    'an end before the start',
    { ...DAY, startsAt: '2100-01-02T00:00:00Z', endsAt: '2100-01-01T00:00:00Z' },
    422,
    '/endsAt',
  ],
  ['maxCatchUp alone', { ...DAY, maxCatchUp: 5 }, 422, '/maxCatchUp'],
  ['an unknown type', { cron: '0 3 * * *', task: { type: 'no.such' } }, 422, '/task/type'],
  ['an internal type', { cron: '0 3 * * *', task: { type: 'webhook.deliver' } }, 422, '/task/type'],
  ['a payload that does not fit', { cron: '0 3 * * *', task: { payload: { steps: -1 } } }, 422, '/task/payload/steps'],
  ['an unknown queue', { cron: '0 3 * * *', task: { queue: 'nowhere' } }, 422, '/task/queue'],
  ['a time of the task', { cron: '0 3 * * *', task: { runAt: '2100-01-01T00:00:00Z' } }, 400, '/task/runAt'],
  ['two sequences', { cron: '0 3 * * *', overlap: 'queue', task: { sequenceKey: 'x' } }, 422, '/task/sequenceKey'],
  ['half of a surrogate pair', { cron: '0 3 * * *', task: { title: '\ud800' } }, 422, '/task/title'],
  [
    'no second before the end of time',
    { everyMs: 1_000, startsAt: '9999-12-31T23:59:59.5Z', task: {} },
    422,
    '/startsAt',
  ],
  ['an unknown field', { ...DAY, every: 5 }, 400, '/every'],
]

for (const [what, body, status, pointer, detail = /./] of WRONG)
  t.test(`refused: ${what}`, async (t) => {
    for (const [method, path] of [
      ['PUT', '/wrong'],
      ['POST', '/preview'],
    ] as const) {
      const answer = await call<Problem>(method, path, body)
      t.equal(answer.status, status, JSON.stringify(answer.body))
      t.match(answer.body.errors?.[0], { pointer, detail })
      t.ok(status === 400 || what.includes('payload') || answer.body.errors?.[0]?.fix, 'the answer says how to fix it')
    }
    t.match(await call('GET', '/wrong'), { status: 404 })
  })

t.test('a preview marks the runs for which the clocks change', async (t) => {
  const preview = (cron: string, more: object = {}) =>
    call<ScheduleDetail>('POST', '/preview', {
      ...{ cron, timeZone: 'Europe/Berlin', startsAt: '2027-03-27T00:00:00Z', task: {} },
      ...more,
    })
  t.match((await preview('30 2 * * *')).body, {
    words: 'At 02:30, Europe/Berlin, from 2027-03-27T00:00:00.000Z',
    nextRuns: [
      { at: '2027-03-27T01:30:00.000Z', local: '2027-03-27 02:30:00 +01:00', note: null },
      { at: '2027-03-28T01:00:00.000Z', local: '2027-03-28 03:00:00 +02:00', note: 'gap' },
      { at: '2027-03-29T00:30:00.000Z', local: '2027-03-29 02:30:00 +02:00', note: null },
    ],
  })
  t.match((await preview('30 2 * * *', { startsAt: '2027-10-31T00:00:00Z' })).body.nextRuns[0], {
    local: '2027-10-31 02:30:00 +02:00',
    note: 'repeated',
  })
  t.same((await preview('30 2 * * *', { endsAt: '2027-03-28T00:00:00Z' })).body.nextRuns.length, 1)
  t.match((await preview('15 10 * * *', { timeZone: 'America/St_Johns' })).body.nextRuns[0], {
    local: / 10:15:00 -02:30$/,
  })
})

t.test('pages of schedules and of slots follow each other', async (t) => {
  for (const name of ['p-1', 'p-2', 'p-3']) await call('PUT', `/${name}`, { everyMs: 3_600_000, task: {} })
  const first = (await call<SchedulePage>('GET', '?limit=2')).body
  t.same(
    first.items.map(({ name }) => name),
    ['p-1', 'p-2'],
  )
  const second = (await call<SchedulePage>('GET', `?limit=2&cursor=${first.nextCursor}`)).body
  t.same([second.items.map(({ name }) => name), second.nextCursor], [['p-3'], null])

  const hour = Math.floor(Date.now() / 3_600_000) * 3_600_000
  const period = { from: new Date(hour - 4 * 3_600_000).toISOString(), to: new Date(hour).toISOString() }
  t.match((await call<BackfillAnswer>('POST', '/p-1/backfill', { ...period, dryRun: true })).body, { made: 4 })
  t.match((await call<BackfillAnswer>('POST', '/p-1/backfill', period)).body, { made: 4 })
  const slots: string[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const page: SlotPage = (await call<SlotPage>('GET', `/p-1/slots?limit=3${cursor && `&cursor=${cursor}`}`)).body
    slots.push(...page.items.map(({ slot }) => slot))
    cursor = page.nextCursor
  }
  t.equal(slots.length, 4)
  t.same(slots, [...slots].sort().reverse())
  for (const [what, body, pointer] of [
    ['an end before the start', { from: period.to, to: period.from }, '/to'],
    ['the future', { from: period.from, to: '2100-01-01T00:00:00Z' }, '/to'],
    ['too long ago', { from: '2020-01-01T00:00:00Z', to: period.to }, '/from'],
    ['no time', { from: '0000-01-01T00:00:00Z', to: period.to }, '/from'],
  ] as const)
    t.match(await call('POST', '/p-1/backfill', body), { status: 422, body: { errors: [{ pointer }] } }, what)
  await call('PUT', '/p-2', { everyMs: 1_000, task: {} })
  t.match(await call('POST', '/p-2/backfill', period), {
    status: 422,
    body: { errors: [{ pointer: '/to', detail: /1000 slots/ }] },
  })
})

t.test('an expression of any text is refused or taken quickly', async (t) => {
  for (const cron of [
    '*/0 * * * *',
    '* * * * *'.repeat(3),
    '1-0 * * * *',
    '@reboot',
    '\u0000',
    '٠ 3 * * *',
    'L L L L L',
    '0 0 31 2,4,6,9,11 *',
    '# # # # #',
    '0 3 * * MON#5',
    '0 0 LW * *',
  ])
    t.ok([200, 400, 422].includes((await call('POST', '/preview', { cron, task: {} })).status), JSON.stringify(cron))
})
