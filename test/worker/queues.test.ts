/** Which worker serves which queue, and a cancel from another process. `npm test` builds the handlers first. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { readAttempts, readTasks } from '../../src/store/reads/tasks.js'
import { copyTasks } from '../helpers/processes.js'
import { openScene } from '../helpers/scene.js'
import { watch } from '../helpers/watch.js'

const scene = await openScene(t, {
  TASKS_DIR: await copyTasks(t, 'outcomes'),
  CANCEL_GRACE_SECONDS: '1',
  QUEUES: 'reports,emails',
})
await Promise.all([scene.start('web'), scene.start('web'), scene.start('relay')])
const read = async (id: string) => (await readTasks(DEFAULT_PRINCIPAL, scene.db, [id]))[0]

t.test('a worker with named queues serves only those, within their concurrency', async (t) => {
  await scene.start('worker', { WORKER_QUEUES: 'reports:2,emails:1' })
  const reports = await Promise.all(
    Array.from({ length: 6 }, () => scene.create({ queue: 'reports', payload: { steps: 1, stepMs: 200 } })),
  )
  const email = await scene.create({ queue: 'emails', payload: { steps: 0 } })
  const other = await scene.create({ payload: { steps: 0 } })
  await scene.ended([...reports, email])
  t.match(await read(other), { status: 'PENDING', attempt: 0 })
  const runs = (await Promise.all(reports.map((id) => readAttempts(DEFAULT_PRINCIPAL, scene.db, id)))).flat()
  const moments = runs.map(({ startedAt }) => Date.parse(startedAt))
  const running = (at: number) =>
    runs.filter(({ startedAt, finishedAt }) => Date.parse(startedAt) <= at && at < Date.parse(finishedAt ?? '')).length
  t.equal(Math.max(...moments.map(running)), 2)
  await scene.start('worker')
  await scene.ended([other])
  const text = `select taskwire.create_task('demo.sleep', '{"steps":0}', queue => 'made-in-sql') as id`
  const [made] = await scene.db.run<{ id: string }>({ name: 'test_create_in_sql', text }, [])
  await scene.ended([made?.id ?? ''])
})

t.test('the concurrency of a type holds across queues, and its waiting tasks hold up no others', async (t) => {
  const singles = await Promise.all(
    [1, 2, 3, 4].map((name) =>
      scene.create({ type: 'test.single', queue: 'default', payload: { name: `single ${name}`, ms: 300 } }),
    ),
  )
  const text = `select taskwire.create_task('test.single', '{"name":"made in SQL","ms":300}') as id`
  const [made] = await scene.db.run<{ id: string }>({ name: 'test_single_in_sql', text }, [])
  const ids = [
    ...singles,
    made?.id ?? '',
    await scene.create({ type: 'test.single', payload: { name: 'in its own queue', ms: 300 } }),
  ]
  await scene.ended(ids)
  const runs = (await Promise.all(ids.map(read)))
    .map((task) => task?.result as { from: number; to: number })
    .sort((a, b) => a.from - b.from)
  t.equal(runs.length, 6)
  for (const [index, { from }] of runs.entries())
    t.ok(index === 0 || from >= (runs[index - 1]?.to ?? 0), 'one at a time')
  t.match(
    await Promise.all(ids.map(read)),
    ids.map(() => ({ status: 'COMPLETED', attempt: 1 })),
  )
})

t.test('a cancel through one web process ends a run whose stream is on another', async (t) => {
  const [first = '', second = ''] = scene.addresses()
  const id = await scene.create({ type: 'test.wait', payload: { obeys: true } })
  const watcher = watch(first, `/ws/tasks/${id}`)
  await watcher.until(({ status }) => status === 'PROCESSING')
  await fetch(`${second}/api/tasks/${id}/cancel`, { method: 'POST' })
  const { messages, code } = await watcher.closed
  t.equal(code, 1000)
  t.same(
    messages
      .filter(({ type }) => type === 'transition')
      .slice(-2)
      .map(({ status }) => status),
    ['CANCELLING', 'CANCELLED'],
  )
})

t.test('a cancel whose message is lost is found when the lease is renewed', async (t) => {
  const id = await scene.create({ type: 'test.wait', payload: { obeys: true } })
  while ((await read(id))?.status !== 'PROCESSING') await sleep(10)
  // The store's statement for a cancel, without the publication.
  const text = `with moved as (update taskwire.tasks set status = 'CANCELLING', version = version + 1 where id = $1::text::uuid returning *)
    insert into taskwire.transitions (task_id, version, tenant, from_status, status, attempt) select id, version, tenant, 'PROCESSING', status, attempt from moved`
  await scene.db.run({ name: 'test_cancelling', text }, [id])
  await scene.ended([id])
  t.match(await read(id), { status: 'CANCELLED' })
  t.same(await scene.violations([id]), [])
})
