/** Why a task of a sequence waits, when the tasks ahead of it wait too: over REST and on streams. */
import t, { type Test } from 'tap'
import type { WaitingFor } from '../../src/protocol/waiting.js'
import { expireTasksIfLate } from '../../src/store/tasks/expire.js'
import { drainWorker } from '../../src/store/workers.js'
import { isWaiting, openWaiting } from '../helpers/waiting.js'
import { watch } from '../helpers/watch.js'

const HOUR_MS = 3_600_000
/** What may pass between a time at which a task is free to start and its start. */
const SOON_MS = 60_000
const { app, db, openQueue, run, store, one, release, start, end, ask, read, why } = await openWaiting(t)

/** So that estimates know how long a run takes. */
async function runOne(): Promise<void> {
  const id = await one({ queue: await openQueue() })
  await release()
  await start(id)
  await end(id)
}
await runOne()

const inAnHour = () => new Date(Date.now() + HOUR_MS).toISOString()
const of = (sequenceKey: string) => ({ more: { sequenceKey } })

/** The range begins then, and is not long. */
function startsAt(t: Pick<Test, 'ok'>, { start }: WaitingFor, at: string): void {
  t.ok(start && start.earliestAt >= at, `${start?.earliestAt} is not before ${at}`)
  t.ok(start && Date.parse(start.at) - Date.parse(at) < SOON_MS, `${start?.at} is soon after ${at}`)
  t.ok(start && start.latestAt >= start.at, `${start?.latestAt} is the latest`)
}

t.test('a task behind one that is due later starts after that, whatever else is known of it', async (t) => {
  const queue = await openQueue()
  const runAt = inAnHour()
  const first = await one({ queue, runAt, ...of('due') })
  const id = await one({ queue, ...of('due') })
  const waitingFor = await why(t, id)
  t.match(waitingFor, {
    code: 'sequence',
    taskIds: [first],
    ahead: 1,
    until: null,
    text: `the task ${first} is first in its sequence; one task is ahead of it; the first one waits: it is to start at ${runAt}`,
  })
  startsAt(t, waitingFor, runAt)
  const soon = await one({ queue, runAt: new Date(Date.now() + HOUR_MS / 2).toISOString(), ...of('due') })
  const own = await why(t, soon)
  t.match(own, { code: 'run_time' })
  startsAt(t, own, runAt)
})

t.test('a task behind a paused one starts after the pause, and at no known time when that has no end', async (t) => {
  const queue = await openQueue()
  const first = await one({ queue, more: { sequenceKey: 'paused', concurrencyKey: 'slow' } })
  const id = await one({ queue, ...of('paused') })
  const until = inAnHour()
  t.ok((await why(t, id)).start, 'the first may start')
  await run(
    `insert into taskwire.pauses (kind, tenant, name, set_by, until) values ('key', 'default', 'slow', 'anna', '${until}')`,
  )
  const waitingFor = await why(t, id)
  t.match(waitingFor, { code: 'sequence', taskIds: [first] })
  t.match(waitingFor.text, `the first one waits: the key slow is paused by anna until ${until}`)
  startsAt(t, waitingFor, until)
  const watcher = watch(app.address, `/ws/tasks/${id}`)
  await watcher.until((message) => isWaiting(message) && message.waitingFor?.start != null)
  await run(`update taskwire.pauses set until = null where name = 'slow'`)
  t.match(await why(t, id), { code: 'sequence', start: null })
  await watcher.until((message) => isWaiting(message) && message.waitingFor?.start === null)
  watcher.terminate()
  await run(`delete from taskwire.pauses`)
})

t.test('a task behind one whose next attempt is due later starts after that', async (t) => {
  const queue = await openQueue()
  const first = await one({ queue, maxAttempts: 3, ...of('retry') })
  const id = await one({ queue, ...of('retry') })
  await release()
  await start(first)
  await end(first, { outcome: 'failed', status: 'RETRYING', retryInMs: HOUR_MS })
  const { runAt } = await read(first)
  const waitingFor = await why(t, id)
  t.match(waitingFor.text, `the first one waits: attempt 2 is due at ${runAt}`)
  startsAt(t, waitingFor, runAt ?? '')
})

t.test('a task behind one that no worker can run starts at no known time', async (t) => {
  const queue = await openQueue()
  const first = await one({ queue, ...of('idle') })
  const elsewhere = await openQueue()
  const id = await one({ queue: elsewhere, ...of('idle') })
  t.ok((await why(t, id)).start)
  await drainWorker(db, `w-${queue}`, { by: 'anna', reason: null })
  t.match(await why(t, id), {
    code: 'sequence',
    start: null,
    text: `the task ${first} is first in its sequence; one task is ahead of it; the first one waits: no worker that takes tasks serves the queue ${queue}`,
  })
})

t.test('a task behind one that is over a limit starts after that one may', async (t) => {
  const queue = await openQueue()
  await run(
    `insert into taskwire.limits (name, queue, rate, period_ms, burst, set_by) values ('hourly', '${queue}', 1, ${HOUR_MS}, 1, 'test')`,
  )
  await one({ queue })
  await release()
  const first = await one({ queue, ...of('limited') })
  const id = await one({ queue: await openQueue(), ...of('limited') })
  const { waitingFor } = await read(first)
  t.match(waitingFor, { code: 'rate' })
  const behind = await why(t, id)
  t.match(behind, { code: 'sequence', text: /the first one waits: the limit hourly allows 1 start in an hour$/ })
  startsAt(t, behind, waitingFor?.until ?? '')
  await run('delete from taskwire.limits')
})

t.test('a task between the first and this one that is due later, or has expired, counts too', async (t) => {
  const queue = await openQueue()
  const first = await one({ queue, ...of('middle') })
  const runAt = inAnHour()
  await one({ queue, runAt, ...of('middle') })
  const id = await one({ queue, ...of('middle') })
  await release()
  await start(first)
  const waitingFor = await why(t, id)
  t.match(waitingFor, {
    code: 'sequence',
    ahead: 2,
    text: `the task ${first} is first in its sequence; 2 tasks are ahead of it`,
  })
  startsAt(t, waitingFor, runAt)
  const late = await one({ queue, more: { sequenceKey: 'middle', expiresAt: new Date(Date.now() + 1).toISOString() } })
  const last = await one({ queue, ...of('middle') })
  await expire(late)
  t.match(await why(t, last), { code: 'sequence', start: null }, 'it halts the sequence once it is the first')
})

async function expire(id: string): Promise<void> {
  while ((await read(id)).status !== 'EXPIRED') await expireTasksIfLate(db, 100)
}

t.test('a sequence says whether the task that has halted it has failed or expired', async (t) => {
  const queue = await openQueue()
  const first = await one({ queue, more: { sequenceKey: 'late', expiresAt: new Date(Date.now() + 1).toISOString() } })
  const id = await one({ queue, ...of('late') })
  await expire(first)
  t.match(await why(t, id), {
    code: 'sequence_halted',
    text: `its sequence is halted: the task ${first} has expired; it is next`,
    taskIds: [first],
    start: null,
  })
})

t.test('the rate that allows a start last is named, and no start is estimated before it', async (t) => {
  const queue = await openQueue()
  await run(
    `insert into taskwire.limits (name, queue, rate, period_ms, burst, set_by) values
      ('a-minute', '${queue}', 1, 60000, 1, 'test'), ('b-hour', '${queue}', 1, ${HOUR_MS}, 1, 'test')`,
  )
  const [, id = '', third = ''] = await store(3, { queue })
  await release()
  await release()
  const waitingFor = await why(t, id)
  t.match(waitingFor, { code: 'rate', ahead: 0, text: 'the limit b-hour allows 1 start in an hour; it is next' })
  startsAt(t, waitingFor, waitingFor.until ?? '')
  t.match(await why(t, third), { code: 'rate', ahead: 1 })
  await run(
    `insert into taskwire.limits (name, queue, concurrency, set_by) values ('c-one', '${queue}', 1, 'test');
     insert into taskwire.holds (limit_name, subject, task_id) values ('c-one', '', '${third}')`,
  )
  const full = await why(t, id)
  t.match(full, { code: 'limit' })
  startsAt(t, full, waitingFor.until ?? '')
  await run('delete from taskwire.limits')
})

t.test('names with blanks, quotes, line breaks and emoji are quoted, and a line of text stays one line', async (t) => {
  const queue = await openQueue()
  const keys = ['mail server', 'a "quoted" one', "it's", '🐢', ' ', 'x\ny', `long ${'z'.repeat(195)}`]
  for (const key of keys) {
    await db.run(
      {
        name: 'test_pause_key',
        text: `insert into taskwire.pauses (kind, tenant, name, set_by) values ('key', 'default', $1, 'anna')`,
      },
      [key],
    )
    const id = await one({ queue, more: { concurrencyKey: key, sequenceKey: key } })
    const behind = await one({ queue, more: { concurrencyKey: key, sequenceKey: key } })
    t.match(await why(t, id), { code: 'paused', text: `the key ${JSON.stringify(key)} is paused by anna` })
    t.match(await why(t, behind), { code: 'paused' })
    const stream = await ask(`${id}/events`, { accept: 'text/plain' })
    t.match(await readLines(stream, 2), [/ PENDING {5}a test task$/, / waiting: the key ".*" is paused by anna$/])
  }
  await run(`delete from taskwire.pauses`)
})

t.test('as text, a task that no longer waits says so by its status, without a line of nothing', async (t) => {
  const id = await one({ queue: await openQueue() })
  const stream = await ask(`${id}/events`, { accept: 'text/plain' })
  const lines = linesOf(stream)
  t.match((await lines.next()).value, / PENDING /)
  t.match((await lines.next()).value, / waiting: it is on its way to a worker$/)
  await release()
  await start(id)
  await end(id)
  const rest: string[] = []
  for await (const line of lines) rest.push(line)
  t.match(rest, [/ PROCESSING /, / COMPLETED /])
  t.equal(rest.length, 2, rest.join('\n'))
})

async function readLines(answer: Response, count: number): Promise<string[]> {
  const lines: string[] = []
  for await (const line of linesOf(answer)) if (lines.push(line) === count) break
  return lines
}

async function* linesOf({ body }: Response): AsyncGenerator<string, undefined> {
  let rest = ''
  for await (const chunk of body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}
