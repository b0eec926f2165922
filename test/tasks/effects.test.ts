/**
 * Effects happen once, outcomes commit together with rows, and the fence holds, while attempts die, pause and come
 * back.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { queryObjects } from 'node:v8'
import { sql } from 'drizzle-orm'
import { pino } from 'pino'
import t from 'tap'
import { Type } from 'typebox'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { defineTask, LeaseLostError, type TaskContext } from '../../src/definitions/definition.js'
import { createRegistry } from '../../src/definitions/registry.js'
import type { Event } from '../../src/protocol/stream.js'
import { findEffect } from '../../src/store/attempts/effects.js'
import { settleAttemptsIfCurrent } from '../../src/store/attempts/settle.js'
import { readTasks } from '../../src/store/reads/tasks.js'
import { createRecorder } from '../../src/tasks/attempt/recorder.js'
import { runAttempt } from '../../src/tasks/attempt/run-attempt.js'
import { sleepFor } from '../../src/timing/pause.js'
import { noArtifacts } from '../helpers/artifacts.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const server = await startPostgres(t)
const db = await openTestDatabase(t, server.url)
const log = pino({ level: 'silent' })
const published: Event[] = []
await db.orm.execute(sql`create table orders (id text)`)

function run(taskId: string, attempt: number, work: (context: TaskContext) => Promise<unknown>): Promise<void> {
  const definition = defineTask({
    type: 'demo.sleep',
    title: 'test',
    description: 'test',
    payload: Type.Object({}),
    result: Type.Union([Type.Null(), Type.Object({}), Type.String()]),
    run: (_, context) => work(context) as Promise<null>,
  })
  const recorder = createRecorder({
    db,
    log,
    worker: 'test',
    leaseMs: 60_000,
    publish: (events) => void published.push(...events),
  })
  const signal = new AbortController().signal
  return runAttempt(
    { taskId, attempt },
    {
      db,
      recorder,
      registry: createRegistry([definition], definition.type),
      log,
      ...noArtifacts,
      cancelGraceMs: 200,
      track: () => ({ signal, abort() {}, ending() {}, end() {} }),
    },
  )
}

/** Rescues the task as the relay does once the lease has run out. */
const rescue = (taskId: string, attempt: number) =>
  settleAttemptsIfCurrent(db, [{ taskId, attempt, outcome: 'lost', status: 'PENDING', reason: 'worker lost' }])
const read = async (taskId: string) => (await readTasks(DEFAULT_PRINCIPAL, db, [taskId]))[0]
const countOrders = async (id: string) =>
  Number(
    (
      (await db.orm.execute(sql`select count(*) as count from orders where id = ${id}`)) as unknown as {
        count: string
      }[]
    )[0]?.count,
  )

t.test('an effect that would wait for itself is refused by its key, and other effects are performed', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  await run(taskId, 1, async ({ once }) => {
    const refused = (key: string) => ({ message: new RegExp(`^once\\('${key}'\\) is called within the effect`) })
    await t.rejects(
      once('a', async () => once('a', async () => 1)),
      refused('a'),
      'directly',
    )
    await t.rejects(
      once('a', async () => once('b', async () => once('c', async () => once('a', async () => 1)))),
      refused('a'),
      'through other effects',
    )
    const calls = await Promise.allSettled([
      once('x', async () => once('y', async () => 1)),
      once('y', async () => once('x', async () => 2)),
    ])
    t.ok(
      calls.some(({ status }) => status === 'rejected'),
      'two effects that wait for each other',
    )
    t.equal(await once('a', async () => once('b', async () => 'both')), 'both', 'an effect may call another')
    t.equal(await once('c', async () => once('a', async () => 'again')), 'both')
    return null
  })
  t.match(await read(taskId), { status: 'COMPLETED', attempt: 1 })
})

t.test('attempts with effects leave nothing behind that slows down the process', async (t) => {
  const count = () => queryObjects(AsyncLocalStorage) ?? NaN
  const [first = '', ...others] = await storeTasks(db, 5)
  const work = ({ once }: TaskContext) => once('a', async () => once('b', async () => 'both'))
  await run(first, 1, work)
  const before = count()
  for (const taskId of others) await run(taskId, 1, work)
  t.equal(count(), before)
})

t.test('a call that cannot be carried out says what is wrong with it', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  await run(taskId, 1, async (context) => {
    for (const time of [NaN, Infinity, -Infinity, 'x', null, undefined, 1n])
      await t.rejects(context.sleep(time as never), { name: 'RangeError', message: /finite number of milliseconds/ })
    await context.sleep(-1)
    for (const [type, options, message] of [
      [undefined, {}, '/type must be a string'],
      [5, {}, '/type must be a string'],
      ['demo.sleep', { key: 5 }, '/key must be a string'],
      ['demo.sleep', 'x', 'is not known here'],
    ] as const)
      await t.rejects(context.create(type as never, {}, options as never), { name: 'NewTaskError', message })
    t.ok(await context.create('demo.sleep', {}, null as never))
    for (const key of [null, undefined, 5, Symbol('x'), {}])
      await t.rejects(
        context.once(key as never, async () => 1),
        { name: 'RangeError', message: /key of an effect/ },
      )
    await t.rejects(context.once('k', null as never), { message: "the effect 'k' must be a function" })
    for (const name of [null, undefined, 5, {}])
      t.throws(() => context.artifact(name as never), { name: 'RangeError', message: /must be a string/ })
    t.throws(() => context.artifact('a.txt', { mediaType: null as never }), {
      name: 'RangeError',
      message: /must be a string/,
    })
    await t.rejects(context.readArtifact('x', null as never), { message: 'there is no artifact x' })
    for (const upload of ['nope', '', '019aa3f2'])
      await t.rejects(context.readArtifact('x', { upload }), {
        name: 'PermanentFailure',
        message: `there is no upload ${upload}`,
      })
    return null
  })
  t.match(await read(taskId), { status: 'COMPLETED' })
})

t.test('a sleep longer than a timer can wait continues until it is aborted', async (t) => {
  const controller = new AbortController()
  const ended: string[] = []
  const sleeping = [3e9, Number.MAX_VALUE].map((time) =>
    sleepFor(time, controller.signal).then(
      () => ended.push('slept'),
      () => ended.push('aborted'),
    ),
  )
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.same(ended, [])
  controller.abort()
  await Promise.all(sleeping)
  t.same(ended, ['aborted', 'aborted'])
})

t.test('a later attempt does not repeat a recorded effect', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  const keys: string[] = []
  const pay = async ({ idempotencyKey }: { idempotencyKey: string }) => ({ receipt: keys.push(idempotencyKey) })
  let firstMayEnd = () => {}
  const first = run(taskId, 1, async (context) => {
    t.same(await context.once('pay', pay), { receipt: 1 })
    t.same(await Promise.all([context.once('pay', pay), context.once('pay', pay)]), [{ receipt: 1 }, { receipt: 1 }])
    await new Promise<void>((resolve) => (firstMayEnd = resolve))
    return null
  })
  while (keys.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  while (!(await findEffect(db, { taskId, attempt: 1 }, 'pay')).isRecorded)
    await new Promise((resolve) => setTimeout(resolve, 5))
  await rescue(taskId, 1)
  await run(taskId, 2, async (context) => context.once('pay', pay))
  t.same(keys, [`${taskId}:pay`])
  t.match(await read(taskId), { status: 'COMPLETED', result: { receipt: 1 }, attempt: 2 })
  firstMayEnd()
  await first
  t.match(await read(taskId), { status: 'COMPLETED', version: 5 }, 'the late outcome was refused')
})

t.test('concurrent calls share one effect; a failed one may be retried', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  let count = 0
  await run(taskId, 1, async (context) => {
    await t.rejects(
      context.once('mail', () => Promise.reject(new Error('no route'))),
      { message: 'no route' },
    )
    const both = await Promise.all([1, 2].map(() => context.once('mail', async () => String((count += 1)))))
    t.same(both, ['1', '1'])
    t.equal(await context.once('nothing', async () => undefined), null)
    await t.rejects(
      context.once('', async () => 1),
      RangeError,
    )
    await t.rejects(
      context.once('text', async () => 'a\0b'),
      { message: /cannot be recorded/ },
    )
    return null
  })
  t.match(await read(taskId), { status: 'COMPLETED' })
})

t.test('a run that was replaced is stopped before its next effect, and its earlier effects are recorded', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  let late: unknown
  await run(taskId, 1, async (context) => {
    t.equal(await context.fence(), 1)
    await t.rejects(
      context.once('slow', async () => rescue(taskId, 1).then(() => 'done')),
      LeaseLostError,
    )
    await t.rejects(
      context.once('next', async () => t.fail('this effect must not happen')),
      LeaseLostError,
    )
    await t.rejects(context.fence(), { message: /attempt 1 is no longer the current one/ })
    await t.rejects(
      context.transaction(async (transaction) =>
        transaction.execute(sql`insert into orders values (${taskId})`).then(() => null),
      ),
      LeaseLostError,
    )
    late = 'reached'
    return 'too late'
  })
  t.equal(late, 'reached')
  t.equal(await countOrders(taskId), 0)
  t.match(await findEffect(db, { taskId, attempt: 1 }, 'slow'), { isCurrent: false, isRecorded: true, value: 'done' })
  t.match(await read(taskId), { status: 'PENDING', version: 3 })
})

t.test('rows and outcome are committed together, and published after the commit', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  await run(taskId, 1, async (context) => {
    context.progress(1, 2)
    context.log.info('about to commit')
    const result = await context.transaction(async (transaction) => {
      await transaction.execute(sql`insert into orders values (${taskId})`)
      return 'stored'
    })
    t.match(await read(taskId), { status: 'COMPLETED', result: 'stored', progress: { fraction: 0.5 } })
    throw new Error(`too late to fail: ${result}`)
  })
  t.equal(await countOrders(taskId), 1)
  t.match(await read(taskId), { status: 'COMPLETED', version: 3 })
  const told = published.filter((event) => event.taskId === taskId).map(({ type, version }) => `${type} ${version}`)
  t.same([told[0], told.at(-1)], ['transition 2', 'transition 3'])
  t.same(told.slice(1, -1).sort(), ['log 2', 'progress 2'])
})

t.test('an error inside a transaction rolls back the rows, and the attempt fails', async (t) => {
  const [thrown = '', violation = ''] = await storeTasks(db, 2)
  await run(thrown, 1, (context) =>
    context.transaction(async (transaction) => {
      await transaction.execute(sql`insert into orders values (${thrown})`)
      throw new Error('no stock')
    }),
  )
  t.match(await read(thrown), { status: 'FAILED', failure: { message: 'no stock' } })
  await run(violation, 1, (context) =>
    context.transaction(async (transaction) =>
      transaction.execute(sql`insert into orders values (${violation})`).then(() => 42),
    ),
  )
  t.match(await read(violation), { status: 'FAILED', failure: { message: /the result does not fit/ } })
  t.same([await countOrders(thrown), await countOrders(violation)], [0, 0])
})

t.test('an effect whose record cannot be stored now is recorded when the database is back', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  let count = 0
  await run(taskId, 1, async (context) => {
    const value = await context.once('mail', async () => {
      count += 1
      await server.kill()
      setTimeout(() => void server.start(), 700)
      return 'sent'
    })
    t.equal(value, 'sent')
    return null
  })
  t.equal(count, 1)
  t.match(await read(taskId), { status: 'COMPLETED' })
  t.match(await findEffect(db, { taskId, attempt: 1 }, 'mail'), { isRecorded: true, value: 'sent' })
})

t.test(
  'a transaction during which the database goes away puts the attempt back, and the next one commits once',
  async (t) => {
    const [taskId = ''] = await storeTasks(db, 1)
    const pay = (context: TaskContext, isAway: boolean) =>
      context.transaction(async (transaction) => {
        await transaction.execute(sql`insert into orders values (${taskId})`)
        if (isAway) {
          await server.kill()
          await server.start()
        }
        return 'paid'
      })
    await run(taskId, 1, (context) => pay(context, true))
    t.match(await read(taskId), { status: 'PENDING', attempt: 1 })
    await run(taskId, 2, (context) => pay(context, false))
    t.match(await read(taskId), { status: 'COMPLETED', result: 'paid' })
    t.equal(await countOrders(taskId), 1)
  },
)

t.test('a handler that calls its context while the database is away waits for it', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  await run(taskId, 1, async (context) => {
    await server.kill()
    setTimeout(() => void server.start(), 500)
    t.equal(await context.once('ask', async () => 'done'), 'done')
    return context.fence().then(String)
  })
  t.match(await read(taskId), { status: 'COMPLETED', result: '1' })
})
