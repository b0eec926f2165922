import { EventEmitter, once } from 'node:events'
import { pino } from 'pino'
import t from 'tap'
import Type from 'typebox'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import type { Database } from '../../src/db/database.js'
import { defineTask, type Definition, type TaskContext } from '../../src/definitions/definition.js'
import { createRegistry } from '../../src/definitions/registry.js'
import type { Event } from '../../src/protocol/stream.js'
import { settleAttemptsIfCurrent } from '../../src/store/attempts/settle.js'
import { readTasks, readTransitionMessages } from '../../src/store/reads/tasks.js'
import { createRecorder } from '../../src/tasks/attempt/recorder.js'
import { runAttempt, type AttemptDeps } from '../../src/tasks/attempt/run-attempt.js'
import { noArtifacts } from '../helpers/artifacts.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const server = await startPostgres(t)
const db = await openTestDatabase(t, server.url)

type Run = (context: TaskContext) => Promise<unknown>

/** A definition under the default type, so that stored test tasks run it. */
function define(run: Run, result: Type.TSchema = Type.Unknown()): Definition {
  return defineTask({
    type: 'demo.sleep',
    title: 'test',
    description: 'test',
    payload: Type.Object({}),
    result,
    run: (_, context) => run(context),
  })
}

function setUp(definition: Definition, overrides: { db?: Database } = {}) {
  const published: Event[] = []
  const controller = new AbortController()
  const log = pino({ level: 'silent' })
  const recorder = createRecorder({
    db: overrides.db ?? db,
    log,
    worker: 'test-worker',
    leaseMs: 60_000,
    publish(events) {
      published.push(...events)
    },
  })
  const registry = createRegistry([definition], definition.type)
  const deps: AttemptDeps = {
    db,
    recorder,
    registry,
    log,
    ...noArtifacts,
    cancelGraceMs: 200,
    track: () => ({ signal: controller.signal, abort: (reason) => controller.abort(reason), ending() {}, end() {} }),
  }
  return { deps, published, controller }
}

async function read(id: string) {
  const [task] = await readTasks(DEFAULT_PRINCIPAL, db, [id])
  return task
}

async function readAttempt(id: string) {
  const text = 'select outcome, error, worker from taskwire.attempts where task_id = $1::text::uuid'
  return db.run({ name: 'test_read_attempt', text }, [id])
}

t.test('a run that returns completes the task, and the published events equal the stored history', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  const { deps, published } = setUp(define(async () => ({ answer: 42 })))
  await runAttempt({ taskId, attempt: 1 }, deps)
  t.match(await read(taskId), { status: 'COMPLETED', result: { answer: 42 }, version: 3, failure: null })
  t.match(await readAttempt(taskId), [{ outcome: 'completed', worker: 'test-worker', error: null }])
  const stored = await readTransitionMessages(DEFAULT_PRINCIPAL, db, taskId, 1, 10)
  while (published.length < 2) await new Promise(setImmediate)
  // For lists, an event also carries facts, which clients never receive.
  t.same(
    published.map((event) => ('facts' in event ? { ...event, facts: undefined } : event)),
    stored.map((message) => ({ ...message, facts: undefined })),
  )
})

t.test('a run that throws fails the task with the message, and the stack stays on the server', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  const { deps } = setUp(define(async () => Promise.reject(new TypeError('no such\0 file'))))
  await runAttempt({ taskId, attempt: 1 }, deps)
  t.match(await read(taskId), {
    status: 'FAILED',
    failure: { code: 'error', message: 'no such file', attempt: 1 },
    result: null,
  })
  t.match(await readAttempt(taskId), [
    { outcome: 'failed', error: { name: 'TypeError', message: 'no such file', stack: /at / } },
  ])
  t.notMatch(JSON.stringify(await read(taskId)), 'attempt.test')
})

t.test('any thrown value ends the task', async (t) => {
  for (const thrown of ['text', null, undefined, 7, { odd: true }, new Error('')]) {
    const [taskId = ''] = await storeTasks(db, 1)
    const { deps } = setUp(define(() => Promise.reject(thrown as Error)))
    await runAttempt({ taskId, attempt: 1 }, deps)
    const task = await read(taskId)
    t.equal(task?.status, 'FAILED')
    t.ok(task?.failure?.message)
  }
})

t.test('a result that does not fit its schema, or cannot be stored, fails the task and says where', async (t) => {
  const cases: [unknown, RegExp][] = [
    [{ count: 'many' }, /\/count must be number/],
    [{ count: 1, text: 'a\0b' }, /\/text contains the character U\+0000/],
    [{ count: 1, text: 'x'.repeat(300_000) }, /300\d+ bytes/],
  ]
  for (const [result, message] of cases) {
    const [taskId = ''] = await storeTasks(db, 1)
    const schema = Type.Object({ count: Type.Number(), text: Type.Optional(Type.String()) })
    const { deps } = setUp(define(async () => result, schema))
    await runAttempt({ taskId, attempt: 1 }, deps)
    t.match(await read(taskId), { status: 'FAILED', failure: { code: 'invalid_result', message } })
  }
})

t.test(
  'a task whose type this worker does not know is put back without spending an attempt, until its window is over',
  async (t) => {
    const [taskId = ''] = await storeTasks(db, 1, { type: 'gone.away' })
    const { deps } = setUp(define(async () => null))
    for (const attempt of [1, 2, 3]) await runAttempt({ taskId, attempt }, deps)
    const last = await read(taskId)
    t.match(last, { status: 'RETRYING', attempt: 3, failure: null })
    const transitions = await readTransitionMessages(DEFAULT_PRINCIPAL, db, taskId, 1, 10)
    t.same(
      transitions.filter(({ status }) => status === 'RETRYING').map(({ reason }) => reason),
      Array(3).fill('no_worker_for_type'),
    )
    const pauses = transitions.flatMap((message) => (message.status === 'RETRYING' ? [message] : [])).at(-1)
    const pauseMs = Date.parse(last?.runAt ?? '') - Date.parse(pauses?.at ?? '')
    t.ok(pauseMs >= 2_000 && pauseMs <= 6_000, `the third pause is four seconds, more or less: ${pauseMs} ms`)
    t.match((await readAttempt(taskId))[0], {
      outcome: 'released',
      error: { name: 'NoWorkerForType', message: /gone\.away/ },
    })
    await runAttempt({ taskId, attempt: 4 }, { ...deps, typeWindowMs: 1 })
    t.match(await read(taskId), { status: 'FAILED', failure: { code: 'no_worker_for_type', message: /gone\.away/ } })
  },
)

t.test('a worker that knows the type runs a task that another one has put back', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1, { type: 'new.type', maxAttempts: 1 })
  await runAttempt({ taskId, attempt: 1 }, setUp(define(async () => null)).deps)
  await runAttempt({ taskId, attempt: 2 }, setUp({ ...define(async () => 'done'), type: 'new.type' }).deps)
  t.match(await read(taskId), { status: 'COMPLETED', result: 'done' })
})

t.test('a repeated delivery runs nothing', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  let runs = 0
  const { deps } = setUp(define(async () => (runs += 1)))
  await Promise.all(Array.from({ length: 5 }, () => runAttempt({ taskId, attempt: 1 }, deps)))
  await runAttempt({ taskId, attempt: 1 }, deps)
  t.equal(runs, 1)
})

t.test('the last progress is stored before the end, and published in order', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  const { deps, published } = setUp(
    define(async (context) => {
      for (let step = 1; step <= 50; step += 1) context.progress(step, 50, `step ${step}`)
      t.throws(() => context.progress(-1), RangeError)
      t.throws(() => context.progress(Number.NaN), RangeError)
    }),
  )
  await runAttempt({ taskId, attempt: 1 }, deps)
  t.match(await read(taskId), {
    status: 'COMPLETED',
    progress: { fraction: 1, done: 50, total: 50, message: 'step 50' },
  })
  while (published.at(-1)?.status !== 'COMPLETED') await new Promise(setImmediate)
  const progress = published.filter((event) => event.type === 'progress')
  t.match(progress.at(-1), { version: 2, progress: { done: 50 } })
  t.ok(progress.length < 50, 'intermediate values are skipped')
})

t.test('a run that is stopped by a shutdown is released and can run again', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  const { deps, controller } = setUp(
    define(async ({ signal }) => {
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
    }),
  )
  const running = runAttempt({ taskId, attempt: 1 }, deps)
  while ((await read(taskId))?.status !== 'PROCESSING');
  controller.abort('shutdown')
  await running
  t.match(await read(taskId), { status: 'PENDING', attempt: 1, version: 3 })
  t.match(await readAttempt(taskId), [{ outcome: 'released' }])
  const next = setUp(define(async () => 'done'))
  await runAttempt({ taskId, attempt: 2 }, next.deps)
  t.match(await read(taskId), { status: 'COMPLETED', attempt: 2, version: 5, result: 'done' })
})

t.test('a run that fails because its lease was lost is rescued; one that returns anyway is recorded', async (t) => {
  const [failing = '', returning = ''] = await storeTasks(db, 2)
  // Resolves once the handler runs: an attempt aborted earlier never calls its handler.
  const begun = new EventEmitter()
  const waitForAbort = ({ taskId, signal }: TaskContext) =>
    new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true })
      begun.emit(taskId)
    })
  const first = setUp(
    define(async (context) => {
      await waitForAbort(context)
      context.signal.throwIfAborted()
    }),
  )
  const second = setUp(
    define(async (context) => {
      await waitForAbort(context)
      return 'done'
    }),
  )
  for (const [taskId, { deps, controller }] of [
    [failing, first],
    [returning, second],
  ] as const) {
    const isRunning = once(begun, taskId)
    const running = runAttempt({ taskId, attempt: 1 }, deps)
    await isRunning
    controller.abort('lease lost')
    await running
  }
  t.match(await read(failing), { status: 'PROCESSING', attempt: 1, version: 2, failure: null })
  t.same(await readAttempt(failing), [], 'the lease is left to the relay')
  t.match(await read(returning), { status: 'COMPLETED', result: 'done' })
})

t.test('a worker that stops between the claim and the run releases the attempt without running it', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  let runs = 0
  const { deps, controller } = setUp(define(async () => (runs += 1)))
  controller.abort('shutdown')
  await runAttempt({ taskId, attempt: 1 }, deps)
  t.match(await read(taskId), { status: 'PENDING', attempt: 1, version: 3 })
  t.equal(runs, 0)
})

t.test('an outcome that comes after the attempt was taken over is refused', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  const { deps, published } = setUp(
    define(async () => {
      await settleAttemptsIfCurrent(db, [{ taskId, attempt: 1, outcome: 'lost', status: 'PENDING', reason: 'lost' }])
      return 'too late'
    }),
  )
  await runAttempt({ taskId, attempt: 1 }, deps)
  t.match(await read(taskId), { status: 'PENDING', result: null, version: 3 })
  t.notOk(published.some((event) => event.status === 'COMPLETED'))
})

t.test('an outcome that cannot be stored at once is stored later', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  let failures = 3
  const shaky: Database = {
    ...db,
    run(statement, parameters) {
      if (statement.name === 'settle_attempts' && failures-- > 0)
        return Promise.reject(Object.assign(new Error('gone'), { code: 'ECONNRESET' }))
      return db.run(statement, parameters)
    },
  }
  const { deps } = setUp(
    define(async () => 'kept'),
    { db: shaky },
  )
  await runAttempt({ taskId, attempt: 1 }, deps)
  t.match(await read(taskId), { status: 'COMPLETED', result: 'kept' })
  t.equal(failures, -1)
})
