/** Workers that are killed, paused past their lease, disconnected, or taken down by their handlers. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { claimAttemptsIfDue } from '../../src/store/attempts/claim.js'
import { readTransitions } from '../../src/store/reads/tasks.js'
import { copyTasks, spawnTaskwire } from '../helpers/processes.js'
import { startProxy } from '../helpers/proxy.js'
import { openScene, type Scene } from '../helpers/scene.js'

t.setTimeout(900_000)

/** Shared by the tests that need no other settings. Each starts its workers, and stops them. */
const shared = await openScene(t)
await Promise.all([shared.start('web'), shared.start('relay')])
/** Some seconds of work, with few progress reports. */
const LONG = { payload: { steps: 8, stepMs: 500 } }

/** Creates tasks, and resolves once all of them run. */
async function startRuns(count: number): Promise<string[]> {
  const ids = await Promise.all(Array.from({ length: count }, () => shared.create(LONG)))
  await shared.running(ids)
  return ids
}

async function statusOf(scene: Scene, id: string) {
  return (await readTransitions(DEFAULT_PRINCIPAL, scene.db, id)).map(({ status, attempt }) => `${status} ${attempt}`)
}

t.test('F9: a worker is killed in the middle of its runs: they continue elsewhere', async (t) => {
  const first = await shared.start('worker')
  const ids = await startRuns(20)
  await first.kill()
  const second = await shared.start('worker')
  await shared.ended(ids)
  t.same(await shared.violations(ids), [])
  t.same(await statusOf(shared, ids[0] ?? ''), [
    'PENDING 0',
    'PROCESSING 1',
    'PENDING 1',
    'PROCESSING 2',
    'COMPLETED 2',
  ])
  await second.stop()
})

t.test('F10: a worker is paused past its lease and wakes up: its late outcome is refused', async (t) => {
  const paused = await shared.start('worker')
  const ids = await startRuns(10)
  paused.child.kill('SIGSTOP')
  const other = await shared.start('worker')
  await shared.ended(ids)
  const before = await Promise.all(ids.map((id) => statusOf(shared, id)))
  paused.child.kill('SIGCONT')
  await sleep(2_000)
  t.same(await Promise.all(ids.map((id) => statusOf(shared, id))), before, 'it changed nothing')
  t.equal(paused.child.exitCode, null, 'the worker keeps working')
  t.same(await shared.violations(ids), [])
  await other.stop()
  await shared.ended([await shared.create({ payload: { steps: 0 } })])
  await paused.stop()
})

t.test('F11: the connection from a worker to PostgreSQL is frozen: its runs end before others begin', async (t) => {
  const { url, port } = shared.postgres
  const line = await startProxy(t, [port])
  const frozen = await shared.start('worker', { DATABASE_URL: url.replace(`:${port}`, `:${line.port}`) })
  const ids = await startRuns(10)
  line.freeze()
  const other = await shared.start('worker')
  await shared.ended(ids)
  line.thaw()
  await sleep(500)
  t.same(await shared.violations(ids), [])
  await Promise.all([frozen.stop(), other.stop()])
})

t.test(
  'F13: a handler that blocks the event loop with the first job of its worker is named, the worker is killed, the other tasks run elsewhere, and it fails alone',
  async (t) => {
    const scene = await openScene(t, { TASKS_DIR: await copyTasks(t, 'block') })
    await Promise.all([scene.start('web'), scene.start('relay')])
    const blocking = await scene.create({ type: 'test.block', payload: { ms: 60_000 } })
    const blocked = spawnTaskwire(t, ['worker'], { env: scene.env })
    await blocked.waitFor(/"type":"test\.block".*blockFor.*"msg":"test\.block blocks the event loop"/)
    t.strictSame(await blocked.exited, { code: null, signal: 'SIGKILL' })
    // The new worker may take the same job and die before it is ready, so this tries again.
    while (
      !(await scene.keep('worker').then(
        () => true,
        () => false,
      ))
    );
    const fine = await scene.create({ payload: { steps: 0 } })
    await scene.ended([blocking, fine])
    t.match((await readTransitions(DEFAULT_PRINCIPAL, scene.db, blocking)).at(-1), {
      status: 'FAILED',
      reason: `the handler blocked its event loop for ${scene.env['ATTEMPT_LEASE_SECONDS']} s`,
    })
    t.same(await scene.violations([blocking, fine]), [])
  },
)

t.test('F14: a task that takes its worker down each time ends, and the others run', async (t) => {
  const crashing = { TASKWIRE_CRASH_AT: 'attempt:after-claim' }
  const workers = await shared.keep('worker', crashing, crashing)
  const poison = await shared.create({ title: 'poison' })
  await shared.ended([poison])
  const story = await statusOf(shared, poison)
  t.same(story, ['PENDING 0', 'PROCESSING 1', 'PENDING 1', 'PROCESSING 2', 'PENDING 2', 'PROCESSING 3', 'FAILED 3'])
  t.match((await readTransitions(DEFAULT_PRINCIPAL, shared.db, poison)).at(-1), { reason: 'worker lost 3 times' })
  await workers.stop()
  const healthy = await shared.start('worker')
  const fine = await shared.create({ payload: { steps: 0 } })
  await shared.ended([fine])
  t.same(await shared.violations([poison, fine]), [])
  await healthy.stop()
})

t.test('F7, F31: several relays deliver, and the same attempt is claimed by many at once: one runs', async (t) => {
  const more = await Promise.all([shared.start('relay'), shared.start('relay')])
  const ids = await Promise.all(
    Array.from({ length: 50 }, () => shared.create({ payload: { steps: 0 }, delayMs: 1_000 })),
  )
  more.push(...(await Promise.all([shared.start('worker'), shared.start('worker')])))
  await shared.ended(ids)
  t.same(await shared.violations(ids), [])
  await Promise.all(more.map((role) => role.stop()))
  const [contested = ''] = [await shared.create({ delayMs: 600_000 })]
  await shared.db.run(
    {
      name: 'fault_start',
      text: `update taskwire.tasks set status = 'PENDING', version = 2 where id = $1::text::uuid`,
    },
    [contested],
  )
  const claims = await Promise.all(
    Array.from({ length: 32 }, (_, index) =>
      claimAttemptsIfDue(shared.db, [{ taskId: contested, attempt: 1 }], `w${index}`, 60_000),
    ),
  )
  t.equal(claims.filter(([claimed]) => claimed !== undefined).length, 1)
})

t.test('shutdown: a rolling restart of all roles under load loses nothing and spends no attempt as lost', async (t) => {
  const scene = await openScene(t, { ATTEMPT_LEASE_SECONDS: '15' })
  const roles = ['web', 'worker', 'relay'] as const
  let running = await Promise.all(roles.map((role) => scene.start(role)))
  const ids: string[] = []
  let isLoading = true
  const load = (async () => {
    while (isLoading) {
      ids.push(await scene.create({ payload: { steps: 4, stepMs: 50 } }))
      await sleep(20)
    }
  })()
  for (const [index, role] of [...roles, ...roles].entries()) {
    await sleep(300)
    const next = await scene.start(role)
    const old = running[index % 3]
    running = running.with(index % 3, next)
    t.equal(await old?.stop(), 0, `the ${role} ended in order`)
  }
  isLoading = false
  await load
  await scene.ended(ids)
  t.same(await scene.violations(ids), [])
  const outcomes = await scene.db.run<{ outcome: string }>(
    { name: 'fault_outcomes', text: 'select distinct outcome from taskwire.attempts' },
    [],
  )
  t.notOk(
    outcomes.some(({ outcome }) => outcome === 'lost'),
    'every attempt was finished or released',
  )
})
