/**
 * Values that handlers return, throw, report or record, and that PostgreSQL cannot store: each ends its task, and no
 * task is retried forever.
 */
import { sql } from 'drizzle-orm'
import { pino } from 'pino'
import t from 'tap'
import { Type } from 'typebox'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { defineTask, type Definition, type TaskContext } from '../../src/definitions/definition.js'
import { CancelTask, RetryLater } from '../../src/definitions/outcome-errors.js'
import { createRegistry } from '../../src/definitions/registry.js'
import type { LogMessage } from '../../src/protocol/stream.js'
import { readLogs } from '../../src/store/attempts/logs.js'
import { readTasks } from '../../src/store/reads/tasks.js'
import { cancelTasksIfUnfinished } from '../../src/store/tasks/cancel.js'
import { createRecorder } from '../../src/tasks/attempt/recorder.js'
import { runAttempt } from '../../src/tasks/attempt/run-attempt.js'
import { noArtifacts } from '../helpers/artifacts.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const server = await startPostgres(t)
const db = await openTestDatabase(t, server.url)
const complaints: string[] = []
const log = pino({ level: 'warn' }, { write: (line) => void complaints.push(line) })
const HALF = '👍'.slice(0, 1)

type Options = Pick<Definition, 'backoff' | 'retryOn' | 'progress'>

const recorder = createRecorder({ db, log, worker: 'w', leaseMs: 60_000, publish() {} })

async function run(
  taskId: string,
  work: (context: TaskContext) => Promise<unknown>,
  options: Options = {},
  attempt = 1,
) {
  const definition = defineTask({
    type: 'demo.sleep',
    title: 'test',
    description: 'test',
    payload: Type.Object({}),
    result: Type.Unknown(),
    progress: Type.Unknown(),
    ...options,
    run: (_, context) => work(context as TaskContext),
  })
  const signal = new AbortController().signal
  const registry = createRegistry([definition], definition.type)
  await runAttempt(
    { taskId, attempt },
    {
      db,
      recorder,
      registry,
      log,
      ...noArtifacts,
      cancelGraceMs: 200,
      track: () => ({ signal, abort() {}, ending() {}, end() {} }),
    },
  )
  return (await readTasks(DEFAULT_PRINCIPAL, db, [taskId]))[0]
}

async function runNew(work: (context: TaskContext) => Promise<unknown>, options: Options = {}) {
  const [taskId = ''] = await storeTasks(db, 1, { maxAttempts: 4 })
  return run(taskId, work, options)
}

t.test('a result that cannot be stored fails its task in the first attempt, and the failure says where', async (t) => {
  const cases: [result: unknown, message: RegExp][] = [
    [{ toJSON: () => 'a\0b' }, /U\+0000/],
    [{ text: HALF }, /\/text .*surrogate/],
    [{ id: 12n }, /\/id is a BigInt/],
    [{ seen: new Map([[1, 2]]) }, /\/seen is a Map/],
    [{ rate: 0 / 0 }, /\/rate is NaN/],
    [
      {
        toJSON() {
          throw new Error('not now')
        },
      },
      /not now/,
    ],
    [
      (() => {
        const cycle: unknown[] = []
        cycle.push(cycle)
        return cycle
      })(),
      /circular/,
    ],
    ['x'.repeat(300_000), /300002 bytes/],
  ]
  for (const [result, message] of cases) {
    t.match(await runNew(async () => result), {
      status: 'FAILED',
      attempt: 1,
      failure: { code: 'invalid_result', message },
    })
    t.match(
      await runNew((context) => context.transaction(async () => result)),
      { status: 'FAILED', attempt: 1, failure: { code: 'invalid_result', message } },
      'in a transaction, too',
    )
  }
  t.match(await runNew(async () => ({ at: new Date(0), none: undefined })), {
    status: 'COMPLETED',
    result: { at: '1970-01-01T00:00:00.000Z' },
  })
})

t.test('any thrown value ends its attempt, with a text that can be stored', async (t) => {
  const hostile = new Proxy(new Error('x'), {
    get() {
      throw new Error('no')
    },
    getPrototypeOf() {
      throw new Error('no')
    },
  })
  const thrown: unknown[] = [
    `a\0${HALF}`,
    new Error(`a\0${HALF}`),
    Object.assign(new Error('x'), {
      name: {
        toString() {
          throw new Error('no')
        },
      },
    }),
    Object.assign(new Error('x'), { message: { deep: HALF } }),
    Object.defineProperty(new Error('x'), 'stack', {
      get() {
        throw new Error('no')
      },
    }),
    Object.create(null),
    Symbol('s'),
    9n,
    hostile,
    new Error('👍'.repeat(5_000)),
  ]
  for (const error of thrown) {
    const task = await runNew(() => Promise.reject(error as Error))
    t.match(task, { status: 'RETRYING' })
  }
  t.match(await runNew(() => Promise.reject(new CancelTask(`no longer\0 needed${HALF}`))), { status: 'CANCELLED' })
  t.match(await runNew(() => Promise.reject(Object.assign(new RetryLater(5), { delayMs: NaN }))), {
    status: 'RETRYING',
  })
})

t.test('a definition whose backoff throws, or is not a number, only delays its task', async (t) => {
  for (const backoff of [
    () => {
      throw new Error('no')
    },
    () => NaN,
    () => 5n as never,
    () => 'soon' as never,
  ]) {
    t.match(await runNew(() => Promise.reject(new Error('x')), { backoff }), { status: 'RETRYING', runAt: /^20/ })
  }
})

t.test('progress is stored as far as it can be, and never fails a task', async (t) => {
  const task = await runNew(async (context) => {
    context.progress(1, 2, `${'x'.repeat(499)}👍`)
    context.progress(1, 2, 7 as never, { toJSON: () => `a\0` })
    context.progress(Number.MAX_VALUE, Number.MAX_VALUE, 'last', new Date(0))
    return null
  })
  t.match(task, { status: 'COMPLETED', progress: { message: 'last', data: '1970-01-01T00:00:00.000Z' } })
  t.match(await runNew(async (context) => context.progress(1, 2, `${'x'.repeat(499)}👍`)), {
    status: 'COMPLETED',
    progress: { message: 'x'.repeat(499) },
  })
})

t.test(
  'an effect whose value cannot be recorded happens once, and its task fails whatever attempts it has left',
  async (t) => {
    for (const value of [1n, 'x'.repeat(300 * 1024), 'a\0b', { half: HALF }, new Map([[1, 2]])]) {
      const [taskId = ''] = await storeTasks(db, 1, { maxAttempts: 4 })
      let times = 0
      const work = (context: TaskContext) => context.once('pay', async () => ((times += 1), value))
      t.match(await run(taskId, work), {
        status: 'FAILED',
        attempt: 1,
        failure: { code: 'invalid_effect', message: /"pay" happened, but its value cannot be recorded/ },
      })
      t.equal(times, 1)
    }
  },
)

t.test('a later attempt learns that the value of an effect was lost, and does not repeat the effect', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1, { maxAttempts: 4 })
  let times = 0
  const pay = (context: TaskContext) => context.once('pay', async () => ((times += 1), 1n))
  const first = await run(taskId, async (context) => pay(context).catch(() => Promise.reject(new RetryLater(0))))
  t.match(first, { status: 'RETRYING' }, 'the handler has swallowed it')
  t.match(await run(taskId, pay, {}, 2), { status: 'FAILED', failure: { code: 'invalid_effect' } })
  t.equal(times, 1)
})

t.test('a later attempt gets the value of an effect in the form in which the first one got it', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1, { maxAttempts: 4 })
  const got: unknown[] = []
  const work = async (context: TaskContext) => {
    got.push(await context.once('when', async () => ({ at: new Date(0) })))
    if (context.attempt === 1) throw new RetryLater(0)
    return null
  }
  await run(taskId, work)
  t.match(await run(taskId, work, {}, 2), { status: 'COMPLETED' })
  t.same(got, [{ at: '1970-01-01T00:00:00.000Z' }, { at: '1970-01-01T00:00:00.000Z' }])
})

t.test('a child that cannot be stored is refused where it is created', async (t) => {
  const task = await runNew(async (context) => {
    await t.rejects(context.create('demo.sleep', { toJSON: () => ({ note: 'a\0b' }) }), {
      name: 'NewTaskError',
      message: /\/payload\/note .*U\+0000/,
    })
    await t.rejects(context.create('demo.sleep', {}, { title: 'x'.repeat(5_000) }), {
      name: 'NewTaskError',
      message: /\/title/,
    })
    await t.rejects(context.create('demo.sleep', {}, { priority: 99 }), { name: 'NewTaskError', message: /\/priority/ })
    await t.rejects(context.create('demo.sleep', { id: 1n }), {
      name: 'NewTaskError',
      message: /\/payload\/id is a BigInt/,
    })
    return null
  })
  t.match(task, { status: 'COMPLETED' })
})

t.test(
  'an outcome whose values PostgreSQL refuses fails its attempt with a reason, and a cancel ends it',
  async (t) => {
    // The constraint stands for any rule of PostgreSQL that our own checks do not know.
    await db.orm.execute(
      sql`alter table taskwire.tasks add constraint no_secret check (result is null or result::text not like '%refuse me%')`,
    )
    t.teardown(() => db.orm.execute(sql`alter table taskwire.tasks drop constraint no_secret`))
    complaints.length = 0
    t.match(await runNew(async () => 'refuse me'), {
      status: 'FAILED',
      result: null,
      failure: { code: 'invalid_result', message: /PostgreSQL refused .*no_secret/ },
    })
    t.match(complaints.join(), /PostgreSQL refused the values of an outcome/)
    const [taskId = ''] = await storeTasks(db, 1)
    const cancelled = await run(taskId, async () => {
      await cancelTasksIfUnfinished(DEFAULT_PRINCIPAL, db, [taskId], { reason: null, withChildren: false })
      return 'refuse me'
    })
    t.match(cancelled, { status: 'CANCELLED' })
  },
)

t.test('an attempt whose failure is refused too is abandoned after a bounded number of tries', async (t) => {
  await db.orm.execute(sql`alter table taskwire.attempts add constraint nothing check (outcome = 'lost') not valid`)
  t.teardown(() => db.orm.execute(sql`alter table taskwire.attempts drop constraint nothing`))
  complaints.length = 0
  t.match(await runNew(async () => 'fine'), { status: 'PROCESSING' }, 'its lease runs out, and the relay ends it')
  t.equal(complaints.length, 2)
})

t.test('a log line or a progress report that PostgreSQL refuses loses only itself', async (t) => {
  await db.orm.execute(sql`alter table taskwire.logs add constraint no_line check (text not like '%refuse me%')`)
  await db.orm.execute(
    sql`alter table taskwire.tasks add constraint no_step check (progress is null or progress::text not like '%refuse me%')`,
  )
  t.teardown(() => db.orm.execute(sql`alter table taskwire.tasks drop constraint no_step`))
  const [one = '', other = ''] = await storeTasks(db, 2)
  const both = Promise.all([
    run(one, async ({ log, progress }) => {
      for (const text of ['first', 'refuse me', 'third']) log.info(text)
      progress(1, 2, 'refuse me')
      return null
    }),
    run(other, async ({ log, progress }) => {
      log.info('of a neighbour')
      progress(1, 2, 'kept')
      return null
    }),
  ])
  t.match(await both, [
    { status: 'COMPLETED', progress: null },
    { status: 'COMPLETED', progress: { message: 'kept' } },
  ])
  const texts = async (id: string) =>
    (await readLogs(DEFAULT_PRINCIPAL, db, id, 0, 10)).items.map(({ text }: LogMessage['line']) => text)
  t.same(await texts(one), ['first', 'third'])
  t.same(await texts(other), ['of a neighbour'])
})
