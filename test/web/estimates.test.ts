/**
 * Estimated starts against real ones, with a worker, a relay and a broker: the range that was given when a task was
 * created holds for at least 8 of 10 starts. The estimates follow the run times that were measured, so this holds on a
 * slow machine too.
 */
import t, { type Test } from 'tap'
import type { Task } from '../../src/protocol/task.js'
import { openTestDatabase } from '../helpers/database.js'
import { startApp } from '../helpers/app.js'
import { watch } from '../helpers/watch.js'

const SLOTS = 2
const LEAST_SHARE = 0.8
const app = await startApp(t, ['worker', 'relay'], { WORKER_CONCURRENCY: String(SLOTS) })
const db = await openTestDatabase(t, app.databaseUrl)

interface Estimated {
  id: string
  code: string | undefined
  range: { earliestAt: number; latestAt: number } | undefined
  createdAt: number
}

const read = async (id: string) => (await (await fetch(`${app.address}/api/tasks/${id}`)).json()) as Task

async function createAll(count: number, more: object): Promise<Task[]> {
  const answer = await fetch(`${app.address}/api/tasks/batch`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ tasks: Array.from({ length: count }, (_, index) => ({ title: `${index}`, ...more })) }),
  })
  if (!answer.ok) throw new Error(await answer.text())
  return ((await answer.json()) as { items: Task[] }).items
}

async function estimate({ id, createdAt }: Task): Promise<Estimated> {
  const { waitingFor } = await read(id)
  const { start } = waitingFor ?? {}
  const range = start ? { earliestAt: Date.parse(start.earliestAt), latestAt: Date.parse(start.latestAt) } : undefined
  return { id, code: waitingFor?.code, range, createdAt: Date.parse(createdAt) }
}

async function whenEnded(id: string): Promise<void> {
  await watch(app.address, `/ws/tasks/${id}`).closed
}

/** Creates tasks, estimates the start of each at once, and compares. */
async function compare(t: Tap, { count, more, code }: { count: number; more: object; code: string }): Promise<void> {
  const tasks = await createAll(count, more)
  const estimated = await Promise.all(tasks.map(estimate))
  await Promise.all(tasks.map(({ id }) => whenEnded(id)))
  const started = await Promise.all(
    estimated.map(async (one) => ({ ...one, startedAt: Date.parse((await read(one.id)).startedAt ?? '') })),
  )
  const waited = started.flatMap(({ range, ...one }) => (one.code === code && range ? { ...one, range } : []))
  t.ok(waited.length >= count / 2, `${waited.length} of ${count} waited by the code ${code}`)
  const right = waited.filter(({ range, startedAt }) => startedAt >= range.earliestAt && startedAt <= range.latestAt)
  const share = right.length / waited.length
  const told = started.map(
    ({ range, startedAt, createdAt }) =>
      `${startedAt - createdAt} in ${range ? `${range.earliestAt - createdAt}..${range.latestAt - createdAt}` : '-'}`,
  )
  t.comment(`${Math.round(share * 100)} % of ${waited.length} starts in their range: ${told.join(', ')}`)
  t.ok(share >= LEAST_SHARE, `${right.length} of ${waited.length} starts in their range`)
  const last = waited.at(-1)
  // A range from now to never would hold too.
  t.ok(last && last.range.earliestAt > last.createdAt, 'the last does not start now')
  t.ok(last && last.range.latestAt - last.createdAt < 6 * (last.startedAt - last.createdAt) + 5_000, 'nor never')
}

type Tap = Pick<Test, 'ok' | 'comment'>
const work = { type: 'demo.sleep', payload: { steps: 1, stepMs: 200 } }

t.test('the range holds for tasks that wait for a slot', async (t) => {
  // The first runs of a process are slower than those after them.
  const first = await createAll(30, work)
  await Promise.all(first.map(({ id }) => whenEnded(id)))
  await compare(t, { count: 50, more: work, code: 'turn' })
})

t.test('the range holds for tasks that wait for a limit of one', async (t) => {
  await db.run(
    {
      name: 'test_limit',
      text: `insert into taskwire.limits (name, per, concurrency, set_by) values ('one', 'key', 1, 'test')`,
    },
    [],
  )
  await compare(t, { count: 25, more: { ...work, concurrencyKey: 'k' }, code: 'limit' })
})
