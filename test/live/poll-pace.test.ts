/** How often a watched list polls. */
import t from 'tap'
import { MAX_PAUSE_MS, PollPace } from '../../src/live/poll-pace.js'

t.test('quick polls follow each other at the minimum pause', async (t) => {
  const pace = new PollPace()
  t.same(
    [2, 3, 50].map((tookMs) => pace.pauseAfter(tookMs, 1_000)),
    [1_000, 1_000, 1_000],
  )
})

t.test('slow polls take up a twentieth of the time', async (t) => {
  const pace = new PollPace()
  pace.pauseAfter(100, 1_000)
  t.equal(pace.pauseAfter(100, 1_000), 2_000)
  t.equal(pace.pauseAfter(200, 1_000), 2_000, 'according to the shorter of the last two polls')
})

t.test('one poll that waited for a lock does not lengthen the pause', async (t) => {
  const pace = new PollPace()
  pace.pauseAfter(5, 1_000)
  t.equal(pace.pauseAfter(4_500, 1_000), 1_000)
  t.equal(pace.pauseAfter(5, 1_000), 1_000)
})

t.test('no sequence of durations makes a pause longer than the limit', async (t) => {
  const pace = new PollPace()
  for (const tookMs of [1, 7_000, 7_000, 60_000, 3_600_000, 3_600_000])
    t.ok(pace.pauseAfter(tookMs, 1_000) <= MAX_PAUSE_MS)
})
