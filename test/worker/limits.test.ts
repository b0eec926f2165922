/** Limits and pauses over several workers, with real processes. */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { findReleaseViolations } from '../helpers/check-release.js'
import { openReleaseLog, readReleaseLog, type LogEntry } from '../helpers/release-log.js'
import { startSampling } from '../helpers/sample-limits.js'
import { openScene } from '../helpers/scene.js'

t.setTimeout(300_000)
const scene = await openScene(t, {
  TASKS_DIR: fileURLToPath(new URL('../../test/fixtures/limited', import.meta.url)),
  QUEUES: 'reports',
  ATTEMPT_LEASE_SECONDS: '3',
})
const { db } = scene
await openReleaseLog(db)
await scene.start('web')
const address = () => scene.addresses()[0] ?? ''
const call = (method: string, path: string, body?: object) =>
  fetch(address() + path, {
    method,
    ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  })
const read = async <Value>(path: string) => (await (await fetch(address() + path)).json()) as Value
let statements = 0
const query = <Row>(text: string) => db.run<Row>({ name: `test_${(statements += 1)}`, text }, [])

/** How many handlers ran at once, at most. One whose lease has ended is no longer counted. */
function mostRunning(log: readonly LogEntry[]): number {
  const running = new Set<string>()
  return log.reduce((most, entry) => {
    if (entry.kind === 'began') running.add(entry.taskId)
    if (entry.kind === 'ended' || entry.kind === 'unleased') running.delete(entry.taskId)
    return Math.max(most, running.size)
  }, 0)
}

t.test('a limit of code holds over three workers and two queues while one is killed', async (t) => {
  await scene.start('relay')
  const workers = await Promise.all([1, 2, 3].map(() => scene.start('worker', { WORKER_CONCURRENCY: '10' })))
  t.match((await read<{ items: object[] }>('/api/limits')).items, [
    { name: 'test.limited.concurrency', source: 'code', types: ['test.limited'], concurrency: 3 },
  ])
  const sampling = startSampling(db, 'test.limited')
  const ids = await Promise.all(
    Array.from({ length: 150 }, (_, index) =>
      scene.create({ type: 'test.limited', queue: index % 2 === 0 ? 'default' : 'reports', payload: { ms: 20 } }),
    ),
  )
  // One that surely runs when its worker is killed.
  const long = await Promise.all(
    [1, 2, 3].map(() => scene.create({ type: 'test.limited', payload: { ms: 1_000 }, priority: 9 })),
  )
  const running = `select count(*)::integer as count from taskwire.leases where task_id in (${long.map((id) => `'${id}'`).join()})`
  while ((await query<{ count: number }>(running))[0]?.count === 0) await sleep(10)
  await workers[0]?.kill()
  await scene.ended([...ids, ...long])
  const { samples, mostOfAll } = await sampling.stop()
  t.equal(mostOfAll, 3, `the most of ${samples} samples`)
  t.ok(samples > 0)
  // However short: each release and start is compared with those before it, and each handler notes its start and end.
  const { log, tasks } = await readReleaseLog(db)
  t.same(findReleaseViolations(log, tasks), [])
  t.equal(mostRunning(log), 3, 'as the handlers themselves note')
  const began = new Set(log.flatMap((entry) => (entry.kind === 'began' ? [entry.taskId] : [])))
  t.equal(began.size, ids.length + long.length)
  t.same(await scene.violations([...ids, ...long]), [])
  t.same(await query(`select * from taskwire.holds`), [], 'nothing is counted any more')
})

t.test('after a pause nothing starts, also what was dispatched before; resumed, all of it ends', async (t) => {
  // The limit of 3 would hold these back anyway, so it is lifted.
  t.equal(
    (await call('PUT', '/api/limits/test.limited.concurrency', { types: ['test.limited'], concurrency: 1_000 })).status,
    200,
  )
  const ids = await Promise.all(
    Array.from({ length: 120 }, () => scene.create({ type: 'test.limited', payload: { ms: 100 } })),
  )
  const started = async () =>
    (
      await query<{ started: number }>(
        `select count(*)::integer as started from taskwire.tasks where id in (${ids.map((id) => `'${id}'`).join()}) and attempt > 0`,
      )
    )[0]?.started ?? 0
  while ((await started()) === 0) await sleep(5)
  const answer = await call('PUT', '/api/pauses/type/test.limited', { reason: 'a test' })
  const before = await started()
  t.equal(answer.status, 200)
  t.match(await answer.json(), { kind: 'type', name: 'test.limited', reason: 'a test', setBy: 'anonymous' })
  t.ok(before < ids.length, `${before} had started`)
  // What ran ends, and the broker has delivered the rest by then.
  await sleep(1_500)
  t.equal(await started(), before, 'none has started since the answer')
  t.equal((await call('DELETE', '/api/pauses/type/test.limited')).status, 204)
  await scene.ended(ids)
  t.same(await scene.violations(ids), [])
})

for (const type of ['test.polite', 'test.polite-isolated'])
  t.test(`${type}: a handler pauses its key and is put back, which is no failure`, async (t) => {
    const account = `account of ${type}`
    const id = await scene.create({ type, payload: { account } })
    interface Task {
      concurrencyKey: string
      attempt: number
      status: string
      result: { startedAtMs: number }
    }
    type Pause = { name: string; until: string; setBy: string; reason: string }
    let pause: Pause | undefined
    while (pause === undefined) {
      await sleep(20)
      pause = (await read<{ items: Pause[] }>('/api/pauses')).items.find(({ name }) => name === account)
    }
    t.match(pause, { kind: 'key', setBy: `task:${id}`, reason: 'status 429' })
    await scene.ended([id])
    const task = await read<Task>(`/api/tasks/${id}`)
    t.match(task, { status: 'COMPLETED', attempt: 2, concurrencyKey: account })
    // PostgreSQL and this process have the same clock here.
    t.ok(task.result.startedAtMs >= Date.parse(pause.until), 'the second attempt began after the pause')
  })
