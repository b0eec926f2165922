/** Workers are known: who they are, what is free, and draining one. With real processes. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import type { Worker, WorkerList } from '../../src/protocol/worker.js'
import { readAttempts } from '../../src/store/reads/tasks.js'
import { forgetLostWorkers, listWorkers } from '../../src/store/workers.js'
import { copyTasks } from '../helpers/processes.js'
import { openScene } from '../helpers/scene.js'

const scene = await openScene(t, {
  TASKS_DIR: await copyTasks(t, 'outcomes'),
  QUEUES: 'reports',
  ATTEMPT_LEASE_SECONDS: '4',
})
await Promise.all([scene.start('web'), scene.start('relay')])

async function read(): Promise<WorkerList> {
  return (await fetch(`${scene.addresses()[0]}/api/workers`)).json() as Promise<WorkerList>
}

/** Polls until the list is as wanted. */
async function listed(isWanted: (list: WorkerList) => boolean): Promise<WorkerList> {
  for (;;) {
    const list = await read()
    if (isWanted(list)) return list
    await sleep(50)
  }
}

const call = (id: string, action: 'drain' | 'resume', body?: object) =>
  fetch(`${scene.addresses()[0]}/api/workers/${encodeURIComponent(id)}/${action}`, {
    method: 'POST',
    ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  })

/** Starts a worker, and returns how it is listed. */
async function startWorker(env: Record<string, string> = {}) {
  const process = await scene.start('worker', env)
  const { items } = await listed(({ items }) => items.some(({ pid }) => pid === process.child.pid))
  const { id } = items.find(({ pid }) => pid === process.child.pid) as Worker
  return { process, id }
}

const stateOf =
  (id: string, state: Worker['state']) =>
  ({ items }: WorkerList) =>
    items.some((item) => item.id === id && item.state === state)
const quick = (count: number) =>
  Promise.all(Array.from({ length: count }, () => scene.create({ payload: { steps: 0 } })))
const workersOf = async (ids: readonly string[]) =>
  new Set(
    (await Promise.all(ids.map((id) => readAttempts(DEFAULT_PRINCIPAL, scene.db, id))))
      .flat()
      .map(({ worker }) => worker),
  )

t.test('without a worker, the queues with waiting tasks and all types say so', async (t) => {
  const id = await scene.create({ queue: 'reports', payload: { steps: 0 } })
  const { items, queues, typesWithoutWorker } = await read()
  t.same(items, [])
  t.same(queues, [{ name: 'reports', workers: 0, slots: 0, running: 0, free: 0, hasWaiting: true }])
  t.ok(typesWithoutWorker.includes('demo.sleep') && typesWithoutWorker.includes('test.wait'))
  const { process } = await startWorker({ WORKER_QUEUES: 'reports:3' })
  await scene.ended([id])
  t.same(
    (await listed(({ queues }) => queues.every(({ hasWaiting, running }) => !hasWaiting && running === 0))).queues,
    [{ name: 'reports', workers: 1, slots: 3, running: 0, free: 3, hasWaiting: false }],
  )
  await process.stop()
})

t.test('a worker is listed with what it serves and runs, and not after it has stopped', async (t) => {
  const { process, id } = await startWorker({ WORKER_CONCURRENCY: '7' })
  const running = await Promise.all(
    [1, 2, 3].map(() => scene.create({ type: 'test.wait', payload: { obeys: true }, queue: 'default' })),
  )
  const list = await listed(({ items }) => items[0]?.running === 3)
  t.match(list.items, [
    {
      id,
      state: 'running',
      host: String,
      pid: process.child.pid,
      version: /^\d+\.\d+\.\d+/,
      startedAt: /Z$/,
      seenAt: /Z$/,
      running: 3,
      drain: null,
    },
  ])
  t.match(
    list.queues.find(({ name }) => name === 'default'),
    { workers: 1, slots: 7, running: 3, free: 4 },
  )
  t.same(list.typesWithoutWorker, [])
  await Promise.all(
    running.map((task) => fetch(`${scene.addresses()[0]}/api/tasks/${task}/cancel`, { method: 'POST' })),
  )
  await scene.ended(running)
  t.equal((await listed(({ items }) => items[0]?.running === 0)).items.length, 1)
  await process.stop()
  t.same((await read()).items, [])
})

t.test('types that only the web process knows have no worker', async (t) => {
  const { process } = await startWorker({ TASKS_DIR: '' })
  const { typesWithoutWorker } = await read()
  t.ok(typesWithoutWorker.includes('test.wait'))
  t.notOk(typesWithoutWorker.includes('demo.sleep'))
  await process.stop()
})

t.test('a drained worker ends what it runs and starts nothing, until it is resumed', async (t) => {
  // Half of the tasks fill a worker, so each of the two gets some.
  const env = { WORKER_CONCURRENCY: '4' }
  const [first, second] = await Promise.all([startWorker(env), startWorker(env)])
  const slow = await Promise.all(Array.from({ length: 8 }, () => scene.create({ payload: { steps: 20, stepMs: 100 } })))
  await scene.running(slow)
  const answer = await call(first.id, 'drain', { reason: 'new kernel' })
  t.equal(answer.status, 200)
  t.match(await answer.json(), { id: first.id, drain: { at: /Z$/, by: 'anonymous', reason: 'new kernel' } })
  t.match(await (await call(first.id, 'drain', { reason: 'another' })).json(), { drain: { reason: 'new kernel' } })
  await scene.ended(slow)
  t.equal((await workersOf(slow)).size, 2, 'each ran in one attempt, by either worker')
  await listed(stateOf(first.id, 'drained'))
  const others = await quick(40)
  await scene.ended(others)
  t.same(await workersOf(others), new Set([second.id]))
  t.match(
    (await read()).queues.find(({ name }) => name === 'default'),
    { workers: 1 },
    'it offers no slots',
  )
  t.match(await (await call(first.id, 'resume')).json(), { drain: null })
  t.equal((await call(second.id, 'drain')).status, 200)
  await listed((list) => stateOf(first.id, 'running')(list) && stateOf(second.id, 'drained')(list))
  const later = await quick(20)
  await scene.ended(later)
  t.same(await workersOf(later), new Set([first.id]))
  t.same(await scene.violations([...slow, ...others, ...later]), [])
  await Promise.all([first.process.stop(), second.process.stop()])
})

t.test('tasks that wait for a slot of their type when a drain begins run after it has ended', async (t) => {
  const { process, id } = await startWorker()
  const single = (name: string, ms = 1) =>
    scene.create({ type: 'test.single', queue: 'default', payload: { name, ms } })
  const ids = await Promise.all([single('a', 2_000), single('b'), single('c'), single('d')])
  // One runs, and the others wait in the worker.
  await listed(({ items }) => items[0]?.running === 1)
  t.equal((await call(id, 'drain')).status, 200)
  await listed(stateOf(id, 'drained'))
  t.equal((await call(id, 'resume')).status, 200)
  await scene.ended([...ids, await single('e')])
  await process.stop()
})

t.test('a worker that drains still does so after PostgreSQL was away', async (t) => {
  const [first, second] = await Promise.all([startWorker(), startWorker()])
  t.equal((await call(first.id, 'drain')).status, 200)
  await listed(stateOf(first.id, 'drained'))
  await scene.postgres.kill()
  await scene.postgres.start()
  const ids = await quick(20)
  await scene.ended(ids)
  t.same(await workersOf(ids), new Set([second.id]))
  await listed(stateOf(first.id, 'drained'))
  await Promise.all([first.process.stop(), second.process.stop()])
})

t.test('a worker that was killed is lost after its lease, and forgotten an hour later', async (t) => {
  const { process, id } = await startWorker()
  await process.kill()
  const list = await listed(stateOf(id, 'lost'))
  t.same(
    list.queues.filter(({ workers }) => workers > 0),
    [],
    'it offers no slots',
  )
  await forgetLostWorkers(scene.db)
  t.ok((await listWorkers(scene.db)).some((worker) => worker.id === id))
  await scene.db.run(
    { name: 'test_age', text: `update taskwire.workers set lease_until = now() - interval '61 min'` },
    [],
  )
  await forgetLostWorkers(scene.db)
  t.same(await listWorkers(scene.db), [])
})

t.test('a worker that stops while it runs something says so', async (t) => {
  const { process, id } = await startWorker({ SHUTDOWN_GRACE_SECONDS: '60' })
  const task = await scene.create({ type: 'test.wait', payload: { obeys: true }, queue: 'default' })
  await scene.running([task])
  const stopped = process.stop()
  const { items } = await listed(stateOf(id, 'stopping'))
  t.match(items, [{ running: 1 }])
  await fetch(`${scene.addresses()[0]}/api/tasks/${task}/cancel`, { method: 'POST' })
  t.equal(await stopped, 0)
  t.same((await read()).items, [])
})

t.test('what cannot be drained gets an answer in words', async (t) => {
  for (const id of ['nobody', 'x\0y', 'ü'.repeat(90)]) {
    const answer = await call(id, 'drain')
    t.ok([400, 404].includes(answer.status), `${answer.status}`)
    t.match(await answer.json(), { detail: String })
  }
  for (const body of [{ reason: '' }, { reason: 7 }, { reason: 'a\0b' }, { reason: 'x'.repeat(501) }, { since: 1 }])
    t.equal((await call('nobody', 'drain', body)).status, 400, JSON.stringify(body).slice(0, 40))
})
