/** The test kit, as authors of task types use it. */
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import {
  CancelTask,
  defineTask,
  PermanentFailure,
  RetryLater,
  Type,
  type Definition,
  type TaskContext,
  type TimeLimits,
} from 'taskwire'
import { drain, expectTransitions, runDefinition } from 'taskwire/testing'
import { createChecker } from '../../src/definitions/schema-errors.js'
import { Task as TaskSchema } from '../../src/protocol/task.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const greet = defineTask({
  type: 'demo.sleep',
  title: 'Greet',
  description: 'Greets, with all that a context offers.',
  payload: Type.Object({ name: Type.String({ default: 'you' }), mood: Type.Optional(Type.String()) }),
  result: Type.Object({ text: Type.String() }),
  attempts: 2,
  backoff: { kind: 'fixed', delayMs: 30 },
  async run({ name, mood }, context) {
    context.progress(1, 2, 'thinking')
    context.log.info({ name }, 'greeting')
    await context.sleep(3_600_000)
    if (mood === 'busy') throw new RetryLater(5_000, 'busy')
    if (mood === 'gone') throw new PermanentFailure('gone')
    if (mood === 'bored') throw new CancelTask('bored')
    if (mood === 'wrong') return { text: 1 } as never
    if (mood === 'flaky' && context.attempt === 1) throw new Error('once')
    await context.once('send', async ({ idempotencyKey }) => idempotencyKey)
    await pipeline(['hello'], context.artifact('note.txt', { mediaType: 'text/plain' }))
    await context.create('demo.sleep', { name: 'child' })
    return { text: `Hello ${name}${context.task.tags.includes('loud') ? '!' : ''}` }
  },
})

t.test('a definition runs in memory, without services and without waiting', async (t) => {
  const run = await runDefinition(greet)
  t.match(run, { status: 'COMPLETED', result: { text: 'Hello you' } })
  t.match(run.reported, {
    progress: [{ done: 1, total: 2, message: 'thinking' }],
    logs: [{ level: 'info', message: 'greeting', fields: { name: 'you' } }],
    children: [{ type: 'demo.sleep', payload: { name: 'child' } }],
    sleptMs: 3_600_000,
  })
  t.equal(run.reported.artifacts.get('note.txt')?.content.toString(), 'hello')
  t.match(run.reported.effects.get('send'), /:send$/)
})

t.test('arguments of ctx.create that a worker would refuse are refused', async (t) => {
  const child = (type: string, options: object) =>
    defineTask({
      type: 'test.parent',
      title: 'Parent',
      description: 'Creates a task.',
      attempts: 1,
      payload: Type.Object({}),
      result: Type.Null(),
      async run(_payload, context) {
        await context.create(type, {}, options)
        return null
      },
    })
  for (const [type, options, message] of [
    [7 as never, {}, /\/type must be a string/],
    ['demo.sleep', { key: 7 }, /\/key must be a string/],
    ['demo.sleep', { priority: 99 }, /\/priority/],
  ] as const)
    t.match(await runDefinition(child(type, options)), { status: 'FAILED', error: { message } })
})

t.test('the task has the values given by the test, and otherwise those of its definition', async (t) => {
  t.match(await runDefinition(greet, {}, { task: { tags: ['loud'] } }), { result: { text: 'Hello you!' } })
  const look = defineTask({
    type: 'test.look',
    title: 'Look',
    description: 'Looks at its task.',
    payload: Type.Object({ n: Type.Integer({ default: 1 }) }),
    result: Type.Unknown(),
    attempts: 4,
    run: async (_, { task }) => task,
  })
  const { taskId, ...run } = await runDefinition(look, {}, { attempt: 2 })
  t.match(run, {
    result: {
      id: taskId,
      type: 'test.look',
      title: 'test.look',
      payload: { n: 1 },
      attempt: 2,
      maxAttempts: 4,
      status: 'PROCESSING',
    },
  })
  t.same(createChecker(TaskSchema).check((run as { result?: unknown }).result), [])
})

t.test('it reports the consequence of a failure for the task', async (t) => {
  const after = (mood: string, attempt = 1) => runDefinition(greet, { mood }, { attempt })
  t.match(await after('busy'), { status: 'RETRYING', retryInMs: 5_000 })
  t.match(await after('gone'), { status: 'FAILED', error: { message: 'gone' } })
  t.match(await after('bored'), { status: 'CANCELLED' })
  t.match(await after('wrong'), { status: 'FAILED', error: { message: /the result does not fit: \/text/ } })
  t.match(await after('flaky'), { status: 'RETRYING', retryInMs: 30 })
  t.match(await after('flaky', 2), { status: 'COMPLETED' })
  await t.rejects(runDefinition(greet, { name: 7 }), { name: 'TypeError', message: /^\/payload\/name/ })
  const effects = new Map([['send', 'done before']])
  t.equal(
    (await runDefinition(greet, {}, { effects })).reported.effects.get('send'),
    'done before',
    'a later attempt finds the recorded effects',
  )
})

t.test('a worker dies at the crash point, and the next attempt continues from the recorded effects', async (t) => {
  const sent: string[] = []
  const send = defineTask({
    type: 'test.send',
    title: 'Send',
    description: 'Sends something, and keeps a note of it.',
    payload: Type.Object({}),
    result: Type.String(),
    async run(_, context) {
      await pipeline(['draft'], context.artifact('draft.txt'))
      const key = await context.once('send', async ({ idempotencyKey }) => sent[sent.push(idempotencyKey) - 1])
      return `${key}`
    },
  })
  const unrecorded = await runDefinition(send, {}, { crashAt: 'after-effect:send' })
  t.match(unrecorded, { status: 'LOST', attempt: 1 })
  const second = await runDefinition(send, {}, { after: unrecorded })
  t.match(second, { status: 'COMPLETED', attempt: 2, taskId: unrecorded.taskId })
  t.same(
    sent,
    [`${unrecorded.taskId}:send`, `${unrecorded.taskId}:send`],
    'the documented window: the effect happens twice, with one key',
  )
  for (const crashAt of ['after-record:send', 'before-return'] as const) {
    sent.length = 0
    const lost = await runDefinition(send, {}, { crashAt })
    t.match(await runDefinition(send, {}, { after: lost }), { status: 'COMPLETED', result: `${lost.taskId}:send` })
    t.equal(sent.length, 1, crashAt)
  }
  await t.rejects(runDefinition(send, {}, { crashAt: 'after-effect:other' }), {
    message: 'the run is COMPLETED and never reached after-effect:other',
  })
})

t.test('calls of `once` are shared and refused as in a worker', async (t) => {
  let count = 0
  const repeat = defineTask({
    type: 'test.repeat',
    title: 'Repeat',
    description: 'Calls once again and again.',
    attempts: 1,
    payload: Type.Object({ mood: Type.String() }),
    result: Type.Unknown(),
    async run({ mood }, { once }) {
      if (mood === 'shared') return Promise.all([1, 2].map(() => once('a', async () => (count += 1))))
      if (mood === 'nested') return once('a', () => once('b', () => once('a', async () => 1)))
      return once('', async () => 1)
    },
  })
  t.match(await runDefinition(repeat, { mood: 'shared' }), { status: 'COMPLETED', result: [1, 1] })
  t.match(await runDefinition(repeat, { mood: 'nested' }), {
    status: 'FAILED',
    error: { message: /^once\('a'\) is called within the effect 'b', which would wait for itself/ },
  })
  t.match(await runDefinition(repeat, { mood: 'nameless' }), {
    status: 'FAILED',
    error: { message: /^the key of an effect must be/ },
  })
})

t.test('time limits apply to the time of the run, and the signal has the reason', async (t) => {
  const sleepy = (timeLimits: TimeLimits, run: (context: TaskContext) => Promise<unknown>) =>
    runDefinition(
      defineTask({
        type: 'test.sleepy',
        title: 'Sleepy',
        description: 'Takes its time.',
        payload: Type.Object({}),
        result: Type.Unknown(),
        attempts: 2,
        timeLimits,
        run: (_, context) => run(context),
      }),
    )
  const hour = 3_600_000
  t.match(await sleepy({ softMs: hour, hardMs: 2 * hour }, (context) => context.sleep(hour - 1)), {
    status: 'COMPLETED',
  })
  t.match(await sleepy({ softMs: hour }, (context) => context.sleep(hour)), {
    status: 'RETRYING',
    error: { message: 'the run was over its time limit' },
  })
  const cleanedUp = await sleepy({ softMs: hour }, async (context) => {
    await context.sleep(2 * hour).catch(() => {})
    return context.signal.reason
  })
  t.match(cleanedUp, { status: 'COMPLETED', result: 'time limit' }, 'the handler may clean up and even succeed')
  const ignores = async (context: TaskContext) => {
    for (;;) await context.sleep(hour).catch(() => new Promise((resolve) => setImmediate(resolve)))
  }
  t.match(await sleepy({ hardMs: 3 * hour }, ignores), {
    status: 'RETRYING',
    error: { message: `the run took longer than ${3 * hour} ms` },
  })
  const silent = async (context: TaskContext) => {
    await context.sleep(50)
    context.heartbeat()
    await context.sleep(60)
    context.progress(1)
    await context.sleep(100)
  }
  t.match(await sleepy({ heartbeatMs: 101 }, silent), { status: 'COMPLETED' })
  t.match(await sleepy({ heartbeatMs: 100 }, silent), { error: { message: 'the run sent no heartbeat for 100 ms' } })
  const wait = defineTask({
    type: 'test.wait',
    title: 'Wait',
    description: 'Waits.',
    payload: Type.Object({}),
    result: Type.Null(),
    run: async (_, context) => (await context.sleep(1), null),
  })
  t.match(await runDefinition(wait, {}, { signal: AbortSignal.abort('cancelled') }), { status: 'CANCELLED' })
  t.match(await runDefinition(wait, {}, { signal: AbortSignal.abort('shutdown') }), { status: 'PENDING' })
})

t.test('progress data is validated', async (t) => {
  const report = (stage: string) =>
    defineTask({
      type: 'test.report',
      title: 'Report',
      description: 'Says how far it is.',
      payload: Type.Object({}),
      result: Type.Null(),
      progress: Type.Object({ stage: Type.Enum(['one', 'two']) }),
      async run(_, context) {
        context.progress(1, 2, undefined, { stage: stage as 'one' })
        return null
      },
    })
  t.match((await runDefinition(report('one'))).reported.progress, [{ done: 1, total: 2, data: { stage: 'one' } }])
  t.match(await runDefinition(report('three')), {
    error: { message: /^the data of a progress report does not match its schema: \/stage/ },
  })
})

t.test('drain runs the tasks of a real database, and expectTransitions checks their history', async (t) => {
  const db = await openTestDatabase(t, (await startPostgres(t)).url)
  const quick = {
    ...greet,
    run: async ({ mood }: { mood?: string }, { attempt }: { attempt: number }) => {
      if (mood === 'flaky' && attempt === 1) throw new Error('once')
      return { text: 'done' }
    },
  } as unknown as Definition
  const [plain = ''] = await storeTasks(db, 1)
  const [flaky = ''] = await storeTasks(db, 1, { payload: { mood: 'flaky' }, maxAttempts: 2 })
  t.equal(await drain({ db, definitions: [quick], waitMs: 500 }), 3)
  await expectTransitions(db, plain, ['PENDING', 'PROCESSING', 'COMPLETED'])
  await expectTransitions(db, flaky, ['PENDING', 'PROCESSING', 'RETRYING', 'PROCESSING', 'COMPLETED'])
  await t.rejects(expectTransitions(db, plain, ['PENDING']), { name: 'AssertionError' })
})
