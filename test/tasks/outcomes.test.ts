/** What happens to a task whose attempt fails, is cancelled or takes too long. */
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { pino } from 'pino'
import t from 'tap'
import { Type } from 'typebox'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { backoffMs, MAX_BACKOFF_MS, type Backoff } from '../../src/definitions/backoff.js'
import { defineTask, type Definition, type TaskContext } from '../../src/definitions/definition.js'
import { CancelTask, PermanentFailure, PutBack, RetryLater } from '../../src/definitions/outcome-errors.js'
import { createRegistry } from '../../src/definitions/registry.js'
import { takeDueDeliveries } from '../../src/store/deliveries/take-due.js'
import { readAttempts, readTasks, readTransitions } from '../../src/store/reads/tasks.js'
import { cancelTasksIfUnfinished } from '../../src/store/tasks/cancel.js'
import { limitPutBack, type AbortReason } from '../../src/tasks/attempt/outcome.js'
import { createRecorder } from '../../src/tasks/attempt/recorder.js'
import { runAttempt } from '../../src/tasks/attempt/run-attempt.js'
import { noArtifacts } from '../helpers/artifacts.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const db = await openTestDatabase(t, (await startPostgres(t)).url)
const warnings: string[] = []
const log = pino({ level: 'warn' }, { write: (line) => void warnings.push((JSON.parse(line) as { msg: string }).msg) })
const QUICK = { kind: 'fixed', delayMs: 0 } as const

type Run = (context: TaskContext) => Promise<unknown>
type Options = Partial<Pick<Definition, 'timeLimits' | 'backoff' | 'retryOn' | 'putBackLimitMs'>>

/** Runs one attempt; `aborting` gets the function that aborts its signal. */
function attempt(
  taskId: string,
  number: number,
  run: Run,
  options: Options = {},
  aborting: (abort: (reason: AbortReason) => void) => void = () => {},
): Promise<void> {
  const definition = defineTask({
    type: 'demo.sleep',
    title: 'test',
    description: '',
    payload: Type.Object({}),
    result: Type.Unknown(),
    backoff: QUICK,
    ...options,
    run: (_, context) => run(context),
  })
  const recorder = createRecorder({ db, log, worker: 'w', leaseMs: 60_000, publish() {} })
  const controller = new AbortController()
  const abort = (reason: AbortReason) => controller.abort(reason)
  aborting(abort)
  const deps = {
    db,
    recorder,
    registry: createRegistry([definition], definition.type),
    log,
    ...noArtifacts,
    cancelGraceMs: 100,
  }
  return runAttempt(
    { taskId, attempt: number },
    { ...deps, track: () => ({ signal: controller.signal, abort, ending() {}, end() {} }) },
  )
}

const fail =
  (error: unknown = new Error('boom')) =>
  () =>
    Promise.reject(error)
const read = async (taskId: string) => (await readTasks(DEFAULT_PRINCIPAL, db, [taskId]))[0]
const story = async (taskId: string) =>
  (await readTransitions(DEFAULT_PRINCIPAL, db, taskId)).map(({ status, attempt: n }) => `${status} ${n}`)

t.test('an attempt that fails is followed by another, up to the number of attempts', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1, { maxAttempts: 3 })
  for (const number of [1, 2, 3]) await attempt(taskId, number, fail(new Error(`boom ${number}`)))
  t.same(await story(taskId), [
    'PENDING 0',
    'PROCESSING 1',
    'RETRYING 1',
    'PROCESSING 2',
    'RETRYING 2',
    'PROCESSING 3',
    'FAILED 3',
  ])
  t.match(await read(taskId), { failure: { code: 'error', message: 'boom 3', attempt: 3 }, runAt: null })
  t.match(
    await readAttempts(DEFAULT_PRINCIPAL, db, taskId),
    [1, 2, 3].map((n) => ({
      attempt: n,
      outcome: 'failed',
      worker: 'w',
      error: { name: 'Error', message: `boom ${n}` },
    })),
  )
})

t.test('the next attempt is due after the backoff, and the relay delivers it then', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1, { maxAttempts: 2 })
  await attempt(taskId, 1, fail(), { backoff: { kind: 'fixed', delayMs: 300 } })
  const { status, runAt } = (await read(taskId)) ?? {}
  t.equal(status, 'RETRYING')
  t.match(runAt, /^2/)
  const isDue = async () =>
    (await takeDueDeliveries(db, 'default', 100, 60_000)).deliveries.some(
      (delivery) => delivery.taskId === taskId && delivery.attempt === 2,
    )
  t.equal(await isDue(), false)
  while (!(await isDue())) await sleep(20)
  await attempt(taskId, 2, async () => 'done')
  t.match(await read(taskId), { status: 'COMPLETED', result: 'done', attempt: 2 })
})

t.test(
  'an attempt that puts its task back is not counted, however often, and the next is due at the requested time',
  async (t) => {
    const [taskId = ''] = await storeTasks(db, 1, { maxAttempts: 2 })
    for (let number = 1; number <= 5; number += 1) {
      await attempt(taskId, number, fail(new PutBack(0, 'the printer is busy')))
      t.match(await read(taskId), { status: 'RETRYING', attempt: number })
    }
    await attempt(taskId, 6, fail())
    await attempt(taskId, 7, fail(new PutBack(60_000)))
    const last = (await readTransitions(DEFAULT_PRINCIPAL, db, taskId)).at(-1)
    t.match(last, { status: 'RETRYING', reason: 'put back; nothing was done yet' })
    t.equal(Date.parse((await read(taskId))?.runAt ?? '') - Date.parse(last?.at ?? ''), 60_000)
    t.same(
      (await readAttempts(DEFAULT_PRINCIPAL, db, taskId)).map(({ outcome }) => outcome),
      [...Array<string>(5).fill('released'), 'failed', 'released'],
    )
    await attempt(taskId, 8, fail(new Error('the last one')))
    t.match(await read(taskId), { status: 'FAILED', failure: { message: 'the last one' } })
  },
)

t.test('an attempt that puts itself back after a cancel is cancelled', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1, { maxAttempts: 2 })
  await attempt(taskId, 1, async () => {
    await cancelTasksIfUnfinished(DEFAULT_PRINCIPAL, db, [taskId], { reason: null, withChildren: false })
    throw new PutBack(0)
  })
  t.match(await read(taskId), { status: 'CANCELLED' })
})

t.test('the class of the thrown error decides what follows', async (t) => {
  const after = async (error: unknown, options?: Options) => {
    const [taskId = ''] = await storeTasks(db, 1, { maxAttempts: 5 })
    await attempt(taskId, 1, fail(error), options)
    const task = await read(taskId)
    const last = (await readTransitions(DEFAULT_PRINCIPAL, db, taskId)).at(-1)
    return {
      status: task?.status,
      code: task?.failure?.code,
      reason: last?.reason,
      waitMs: task?.runAt && last ? Date.parse(task.runAt) - Date.parse(last.at) : undefined,
    }
  }
  t.match(await after(new RetryLater(90_000, 'busy')), { status: 'RETRYING', reason: 'busy', waitMs: 90_000 })
  t.match(await after(new PermanentFailure('no such user')), {
    status: 'FAILED',
    code: 'permanent',
    reason: 'no such user',
  })
  t.match(await after(new CancelTask('nothing to do')), {
    status: 'CANCELLED',
    reason: 'nothing to do',
    code: undefined,
  })
  const options = { retryOn: (error: unknown) => error instanceof TypeError }
  t.match(await after(new Error('no'), options), { status: 'FAILED', code: 'error' })
  t.match(await after(new TypeError('yes'), options), { status: 'RETRYING' })
  t.match(
    await after(new Error('x'), {
      retryOn: () => {
        throw new Error('it cannot tell')
      },
    }),
    { status: 'RETRYING' },
  )
  t.match(await after(new Error('x'), { backoff: (failures) => failures * 1_000 }), {
    status: 'RETRYING',
    waitMs: 1_000,
  })
  t.throws(() => new RetryLater(-1), RangeError)
})

t.test('a released attempt does not count as failed', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1, { maxAttempts: 2 })
  await attempt(
    taskId,
    1,
    ({ signal }) => sleep(60_000, undefined, { signal }),
    {},
    (abort) => setTimeout(abort, 20, 'shutdown'),
  )
  await attempt(taskId, 2, fail())
  t.equal((await read(taskId))?.status, 'RETRYING', 'the first failure of two')
  await attempt(taskId, 3, fail())
  t.equal((await read(taskId))?.status, 'FAILED')
})

t.test('time limits: first the signal, then the end, even for a handler that ignores the signal', async (t) => {
  const [soft = '', hard = '', silent = '', lively = ''] = await storeTasks(db, 4, { maxAttempts: 1 })
  let reason: unknown
  await attempt(soft, 1, async ({ signal, sleep: wait }) => wait(60_000).finally(() => (reason = signal.reason)), {
    timeLimits: { softMs: 50 },
  })
  t.equal(reason, 'time limit')
  t.match(await read(soft), {
    status: 'FAILED',
    failure: { code: 'time_limit', message: 'the run was over its time limit' },
  })
  let late: (result: string) => void = () => {}
  await attempt(hard, 1, () => new Promise((resolve) => (late = resolve)), { timeLimits: { hardMs: 80 } })
  t.match(await read(hard), {
    status: 'FAILED',
    failure: { code: 'time_limit', message: 'the run took longer than 80 ms' },
  })
  late('too late')
  await sleep(50)
  t.match(await read(hard), { status: 'FAILED', version: 3 }, 'its later result is discarded')
  await attempt(silent, 1, () => sleep(60_000, undefined, { ref: false }), { timeLimits: { heartbeatMs: 80 } })
  t.match(await read(silent), { status: 'FAILED', failure: { code: 'no_heartbeat' } })
  const signs = [
    (context: TaskContext) => context.heartbeat(),
    (context: TaskContext) => context.progress(1),
    (context: TaskContext) => context.log.info('alive'),
  ]
  await attempt(
    lively,
    1,
    async (context) => {
      // The run takes longer than the limit in total, but each heartbeat comes long before it.
      for (let step = 0; step < 60; step += 1) {
        await sleep(40)
        signs[step % signs.length]?.(context)
      }
    },
    { timeLimits: { heartbeatMs: 2_000 } },
  )
  t.match(await read(lively), { status: 'COMPLETED' })
})

t.test(
  'a cancelled run: one that obeys, one that fails with another error, one that ends first, one that ignores the cancel',
  async (t) => {
    const [obeys = '', fails = '', ends = '', ignores = ''] = await storeTasks(db, 4, { maxAttempts: 3 })
    const cancelled = async (taskId: string, run: Run) => {
      let abort: (reason: AbortReason) => void = () => {}
      const running = attempt(taskId, 1, run, {}, (given) => (abort = given))
      while ((await read(taskId))?.status !== 'PROCESSING') await sleep(5)
      const [transition] = await cancelTasksIfUnfinished(DEFAULT_PRINCIPAL, db, [taskId], {
        reason: 'not needed',
        withChildren: false,
      })
      t.match(transition, { status: 'CANCELLING', from: 'PROCESSING', version: 3, attempt: 1, reason: 'not needed' })
      abort('cancelled')
      await running
      return story(taskId)
    }
    t.same(await cancelled(obeys, (context) => context.sleep(60_000)), [
      'PENDING 0',
      'PROCESSING 1',
      'CANCELLING 1',
      'CANCELLED 1',
    ])
    t.match(await readAttempts(DEFAULT_PRINCIPAL, db, obeys), [{ outcome: 'cancelled' }])
    t.same(
      (
        await cancelled(
          fails,
          ({ signal }) =>
            new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('cleaned up')))),
        )
      ).at(-1),
      'CANCELLED 1',
    )
    t.same(
      (
        await cancelled(
          ends,
          ({ signal }) => new Promise((resolve) => signal.addEventListener('abort', () => resolve('done'))),
        )
      ).at(-1),
      'COMPLETED 1',
    )
    let late: (result: string) => void = () => {}
    t.same((await cancelled(ignores, () => new Promise((resolve) => (late = resolve)))).at(-1), 'CANCELLED 1')
    late('too late')
    await sleep(50)
    t.match(await read(ignores), { status: 'CANCELLED', version: 4, result: null })
  },
)

t.test('a child is created once, however often the handler runs, and names its parent', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1, { maxAttempts: 3 })
  const made: string[][] = []
  const run: Run = async (context) => {
    made.push([
      await context.create('demo.sleep', {}, { title: 'first' }),
      await context.create('demo.sleep'),
      await context.create('demo.sleep', {}, { key: 'mine' }),
    ])
    if (made.length < 2) throw new Error('again')
  }
  await attempt(taskId, 1, run)
  await attempt(taskId, 2, run)
  t.equal((await read(taskId))?.status, 'COMPLETED')
  t.same(made[0], made[1])
  t.equal(new Set(made[0]).size, 3)
  t.match(
    await readTasks(DEFAULT_PRINCIPAL, db, made[0] ?? []),
    [1, 2, 3].map(() => ({ parentId: taskId, status: 'PENDING' })),
  )
  const [wrong = ''] = await storeTasks(db, 1)
  await attempt(wrong, 1, (context) => context.create('no.such'))
  t.match(await read(wrong), { status: 'FAILED', failure: { message: /no task type "no\.such"/ } })
})

t.test('the key of a child may have any length and any characters, and identifies one child', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1, { maxAttempts: 3 })
  const keys = ['k'.repeat(3_000), 'k'.repeat(3_001), '日'.repeat(1_000), 'a\0b', '\ud800', '\udfff']
  const made: string[][] = []
  const run: Run = async (context) => {
    const ids: string[] = []
    for (const key of keys) ids.push(await context.create('demo.sleep', {}, { key }))
    made.push(ids)
    if (made.length < 2) throw new Error('again')
  }
  await attempt(taskId, 1, run)
  await attempt(taskId, 2, run)
  t.match(await read(taskId), { status: 'COMPLETED', failure: null })
  t.same(made[0], made[1])
  t.equal(new Set(made[0]).size, keys.length)
})

t.test('a handler cannot create a child that a client could not create', async (t) => {
  for (const [options, message] of [
    [{ uniqueKey: 'u'.repeat(3_000) }, /uniqueKey must not have more than 200 characters/],
    [{ tags: ['t'.repeat(3_000)] }, /tags\/0 must not have more than 50 characters/],
    [{ priority: 99 }, /priority must be <= 9/],
  ] as const) {
    const [taskId = ''] = await storeTasks(db, 1)
    await attempt(taskId, 1, (context) => context.create('demo.sleep', {}, options as object))
    t.match(await read(taskId), { status: 'FAILED', failure: { message } })
  }
})

t.test('the exponential backoff doubles, keeps within its bounds and is never the same for all', async (t) => {
  const backoff = { kind: 'exponential', firstMs: 100, maxMs: 10_000 } as const
  t.same(
    [1, 2, 3, 8, 60].map((failures) => backoffMs(backoff, failures, undefined, () => 1)),
    [100, 200, 400, 10_000, 10_000],
  )
  t.same(
    [1, 2, 3, 8].map((failures) => backoffMs(backoff, failures, undefined, () => 0)),
    [50, 100, 200, 5_000],
  )
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5_000 }), fc.double({ min: 0, max: 1, noNaN: true }), (failures, random) => {
      const ms = backoffMs(backoff, failures, undefined, () => random)
      return Number.isInteger(ms) && ms >= 50 && ms <= 10_000
    }),
  )
})

t.test(
  'a backoff that gives no delay is replaced by the default one, and one that is too long is cut, with a warning',
  async (t) => {
    const thrower = () => {
      throw new Error('no idea')
    }
    const cases: [backoff: unknown, said: RegExp][] = [
      [() => NaN, /gave NaN/],
      [() => -5, /gave -5/],
      [() => Infinity, /gave Infinity/],
      [() => -Infinity, /gave -Infinity/],
      [() => '5', /gave a string/],
      [() => 5n, /gave a bigint/],
      [() => undefined, /gave undefined/],
      [() => null, /gave null/],
      [() => new Date(), /gave a Date/],
      [async () => 5, /gave a promise/],
      [() => ({ delayMs: 5 }), /gave an object/],
      [() => () => 5, /gave a function/],
      [thrower, /threw an error \(no idea\)/],
      [{ kind: 'fixed', delayMs: NaN }, /gave NaN/],
      [{ kind: 'fixed', delayMs: -1 }, /gave -1/],
      [{ kind: 'exponential', firstMs: 'x' }, /gave NaN/],
      ['fixed', /threw/],
    ]
    for (const [backoff, said] of cases) {
      const told: string[] = []
      t.equal(
        backoffMs(
          backoff as Backoff,
          2,
          undefined,
          () => 1,
          (message) => told.push(message),
        ),
        2_000,
        String(said),
      )
      t.equal(told.length, 1)
      t.match(told[0], said)
      t.match(told[0], /the default backoff is used/)
    }
    for (const delayMs of [MAX_BACKOFF_MS + 1, 1e300]) {
      const told: string[] = []
      t.equal(
        backoffMs(
          () => delayMs,
          1,
          undefined,
          () => 1,
          (message) => told.push(message),
        ),
        MAX_BACKOFF_MS,
      )
      t.match(told, [/30 days/])
    }
    backoffMs(
      () => MAX_BACKOFF_MS,
      1,
      undefined,
      () => 1,
      (message) => t.fail(message),
    )
    const [taskId = ''] = await storeTasks(db, 1, { maxAttempts: 2 })
    warnings.length = 0
    await attempt(taskId, 1, fail(), { backoff: (async () => 5) as never })
    t.match(
      warnings.join('\n'),
      /task type demo\.sleep: the backoff gave a promise/,
      'the log of the worker names the type',
    )
    const { at = '' } = (await readTransitions(DEFAULT_PRINCIPAL, db, taskId)).at(-1) ?? {}
    t.ok(
      Date.parse((await read(taskId))?.runAt ?? '') - Date.parse(at) <= 1_000,
      'the retry is due after the default backoff',
    )
  },
)

t.test('RetryLater and PutBack accept only milliseconds', async (t) => {
  for (const Class of [RetryLater, PutBack]) {
    for (const delay of [NaN, -1, Infinity, -Infinity, undefined, null, '5', 5n, new Date(), {}, [5]])
      t.throws(() => new Class(delay as number), {
        name: 'RangeError',
        message: new RegExp(`^${Class.name} takes milliseconds`),
      })
    t.doesNotThrow(() => new Class(0))
  }
  warnings.length = 0
  const [far = '', put = '', changed = ''] = await storeTasks(db, 3, { maxAttempts: 2 })
  await attempt(far, 1, fail(new RetryLater(1e300)))
  await attempt(put, 1, fail(new PutBack(1e300)))
  await attempt(changed, 1, fail(Object.assign(new RetryLater(1), { delayMs: NaN })))
  for (const taskId of [far, put]) {
    const { at = '' } = (await readTransitions(DEFAULT_PRINCIPAL, db, taskId)).at(-1) ?? {}
    t.equal(Date.parse((await read(taskId))?.runAt ?? '') - Date.parse(at), MAX_BACKOFF_MS)
  }
  t.match(await read(changed), { status: 'RETRYING' })
  t.match(warnings, [
    /RetryLater asked for 1e\+300 ms; the longest pause/,
    /PutBack asked for 1e\+300 ms/,
    /RetryLater gave NaN/,
  ])
})

t.test(
  'a handler that puts itself back without a pause gets a growing pause, and its task fails at the limit',
  async (t) => {
    const putBack = (waitedMs: number, count: number, askedMs = 0) =>
      limitPutBack(
        { kind: 'released', reason: 'busy', retryInMs: askedMs, error: new PutBack(askedMs) },
        { count, waitedMs },
      )
    const pause = (waitedMs: number, askedMs = 0) => {
      const outcome = putBack(waitedMs, 3, askedMs)
      return outcome.kind === 'released' ? (outcome.retryInMs ?? 0) : -1
    }
    for (const [waitedMs, least] of [
      [0, 1_000],
      [20_000, 1_000],
      [60_000, 3_000],
      [3_600_000, 180_000],
    ] as const)
      t.ok(pause(waitedMs) >= least && pause(waitedMs) <= least * 1.5, `after ${waitedMs} ms`)
    t.equal(pause(3_600_000, 200_000), 200_000, 'a longer requested pause is kept')
    t.match(putBack(7 * 86_400_000, 3), { kind: 'failed', code: 'put_back' })

    const [taskId = ''] = await storeTasks(db, 1, { maxAttempts: 5 })
    warnings.length = 0
    for (const number of [1, 2]) {
      await attempt(taskId, number, fail(new PutBack(0, 'the printer is busy')))
      const { at = '' } = (await readTransitions(DEFAULT_PRINCIPAL, db, taskId)).at(-1) ?? {}
      t.ok(Date.parse((await read(taskId))?.runAt ?? '') - Date.parse(at) >= 1_000)
    }
    t.match(warnings, [/task type demo\.sleep: the handler put its task back for 0 ms, 1 times/, /2 times in a row/])
    await attempt(taskId, 3, fail())
    class Busy extends PutBack {}
    await attempt(taskId, 4, fail(new Busy(0)), { putBackLimitMs: 0 })
    t.match(await read(taskId), { status: 'RETRYING' }, 'a failed attempt restarts the count')
    await attempt(
      taskId,
      5,
      async ({ signal }) => sleep(60_000, undefined, { signal }),
      {},
      (abort) => setTimeout(abort, 20, 'shutdown'),
    )
    await attempt(taskId, 6, fail(new Busy(0, 'the printer is busy')), { putBackLimitMs: 0 })
    t.match(await read(taskId), {
      status: 'FAILED',
      failure: {
        code: 'put_back',
        message: /^put back 2 times over .* which is the limit \(putBackLimitMs\); the last time: the printer is busy$/,
        attempt: 6,
      },
    })
    t.match(warnings.at(-1), /which is the limit/)
  },
)
