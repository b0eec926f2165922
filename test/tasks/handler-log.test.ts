import { pino, type Logger } from 'pino'
import t from 'tap'
import { createHandlerLog, MAX_LINES } from '../../src/tasks/attempt/context/handler-log.js'

function setUp(level: string) {
  const printed: Record<string, unknown>[] = []
  const reported: { level: string; text: string; atMs: number }[] = []
  const root = pino(
    { level, base: { name: 'worker' } },
    { write: (json) => void printed.push(JSON.parse(json) as Record<string, unknown>) },
  )
  return { printed, reported, log: createHandlerLog(root, { taskId: 'x', attempt: 2 }, (line) => reported.push(line)) }
}

t.test('a log line is printed with the task and stored as text', async (t) => {
  const { log, printed, reported } = setUp('info')
  log.info('started')
  log.warn({ rows: 3, err: new RangeError('too far') }, 'halfway')
  log.child({ part: 'b' }).error('broken\0')
  t.match(printed, [
    { name: 'worker', taskId: 'x', attempt: 2, level: 30, msg: 'started' },
    { rows: 3, level: 40, msg: 'halfway', err: { type: 'RangeError', message: 'too far' } },
    { part: 'b', level: 50 },
  ])
  t.match(reported, [
    { level: 'info', text: 'started' },
    { level: 'warn', text: /^halfway \{"rows":3,"err":\{"type":"RangeError","message":"too far"/ },
    { level: 'error', text: 'broken {"part":"b"}' },
  ])
})

t.test('the stored log lines do not depend on the log level of the worker', async (t) => {
  const quiet = setUp('silent')
  quiet.log.info('a')
  quiet.log.debug('b')
  t.same(quiet.printed, [])
  t.match(quiet.reported, [{ text: 'a' }])
  const loud = setUp('debug')
  loud.log.debug('b')
  t.match(loud.printed, [{ msg: 'b' }])
  t.same(loud.reported, [])
})

t.test('a loop that logs does not fill the database', async (t) => {
  const { log, printed, reported } = setUp('info')
  for (let index = 0; index < MAX_LINES + 50; index += 1) log.info(`line ${index}`)
  log.info('x'.repeat(5_000))
  t.equal(reported.length, MAX_LINES)
  t.match(reported.at(-1)?.text, 'lines are stored')
  t.equal(printed.length, MAX_LINES + 51)
})

t.test('fields never replace the standard fields of the log line', async (t) => {
  const { log, printed, reported } = setUp('info')
  log.info({ level: 5, time: '12:00', taskId: 'another', msg: 'not this', n: 1 }, 'x')
  log.child({ time: 0 }).warn('y')
  log.error({ msg: { not: 'a text' } })
  t.match(printed, [
    { level: 30, taskId: 'x', msg: 'x', n: 1, fields: { level: 5, time: '12:00', taskId: 'another' } },
    { level: 40, msg: 'y', fields: { time: 0 } },
    { level: 50, fields: { msg: { not: 'a text' } } },
  ])
  t.match(reported, [
    { level: 'info', text: /^x \{.*"level":5/ },
    { level: 'warn', text: /^y / },
    { level: 'error', text: /not/ },
  ])
  for (const { atMs } of reported) t.type(atMs, 'number')
})

t.test('a log call never throws, whatever is logged', async (t) => {
  const { log, reported } = setUp('info')
  const cycle: Record<string, unknown> = {}
  cycle['again'] = cycle
  const thrower = {
    get a() {
      throw new Error('no')
    },
    toJSON() {
      throw new Error('no')
    },
  }
  const hostile: unknown[] = [
    { level: 5 },
    { time: '12:00' },
    { time: Infinity },
    { id: 1n },
    cycle,
    thrower,
    { inner: thrower },
    null,
    undefined,
    Symbol('s'),
    7,
    [1],
    () => 1,
    'a\0' + '👍'.slice(0, 1),
    new Proxy(
      {},
      {
        ownKeys() {
          throw new Error('no')
        },
      },
    ),
    Object.create(null),
    { err: thrower },
    { ['__proto__']: 1 },
  ]
  for (const value of hostile) {
    log.info(value as object)
    log.info(value as object, 'with %s and %d', value, value as number)
    log.child({ value }).warn('x')
    log.child(value as object).warn('x')
  }
  log.child({}, { level: 'nonsense' }).info('x')
  const custom = (log as unknown as Logger).child({}, { customLevels: { odd: 35 } })
  custom.odd('between info and warn')
  t.match(reported.at(-1), { level: 'info', text: 'between info and warn' })
  t.ok(reported.length >= hostile.length * 3)
  for (const { text, atMs } of reported)
    t.ok(text.isWellFormed() && !text.includes('\0') && Number.isSafeInteger(atMs), text)
})

t.test('a log call never throws, whatever options its child was given', async (t) => {
  const { log, reported } = setUp('info')
  const root = log as unknown as Logger
  const fail = (): never => {
    throw new Error('broken option')
  }
  const options: Record<string, unknown>[] = [
    { formatters: { log: fail } },
    { formatters: { log: 'text' } },
    { formatters: { log: () => null } },
    { formatters: { bindings: fail } },
    { formatters: { level: fail }, customLevels: { odd: 35 } },
    { formatters: { level: () => undefined }, customLevels: { odd: 35 } },
    { formatters: null },
    { formatters: new Proxy({}, { get: fail }) },
    { serializers: { a: fail } },
    { serializers: { msg: fail } },
    { serializers: { a: () => Symbol('s') } },
    { serializers: { err: fail } },
    { serializers: null },
    { serializers: { a: () => 1n } },
    { serializers: { a: 7 } },
    { redact: ['a['] },
    { redact: { paths: ['a'], censor: fail } },
    { redact: 7 },
    { redact: {} },
    { redact: { paths: 'a' } },
    { level: 'nonsense' },
    { level: 7 },
    { level: Symbol('s') },
    { msgPrefix: 7 },
    { msgPrefix: '> ' },
    { customLevels: 'x' },
    { customLevels: { info: 1 } },
    { customLevels: { odd: 'x' } },
    { onChild: fail },
    Object.create(null) as Record<string, unknown>,
    new Proxy({}, { get: fail }),
  ]
  for (const [index, given] of options.entries()) {
    const before = reported.length
    for (const bindings of [{}, { a: 1 }]) {
      const child = root.child(bindings, given)
      child.error({ a: 2, err: new Error('x') }, `line ${index}`)
      child.error(`line ${index}`)
      child.child({ a: 3 }).error({ a: 4 }, `line ${index}`)
      child.setBindings({ a: 5 })
      child.bindings()
    }
    t.equal(
      reported.slice(before).filter(({ level, text }) => level === 'error' && text.includes(`line ${index}`)).length,
      6,
      `each lost log line is reported: ${index}`,
    )
  }
  reported.length = 0
  root.child({}, { formatters: { log: fail } }).info({ n: 1 }, 'x')
  t.match(reported, [
    { level: 'info', text: 'x; a log line cannot be written: reading one of its fields failed (broken option)' },
  ])
  root.child({}, { redact: ['a['] })
  t.match(reported.at(-1), { level: 'warn', text: /^a child logger cannot be made; its parent is used: / })
})

t.test('no other call of a logger throws', async (t) => {
  const { log, reported } = setUp('info')
  const root = log as unknown as Logger
  const fail = (): never => {
    throw new Error('broken')
  }
  root.onChild = fail
  root.child({}).info('from the child')
  root.setBindings({
    get a() {
      return fail()
    },
  })
  root.setBindings(null as never)
  root.level = 'nonsense'
  t.equal(root.level, 'info')
  root.level = 'debug'
  t.equal(root.level, 'debug')
  root.flush('not a function' as never)
  const { info } = root
  info('without its logger')
  root.child(undefined as never).info('without bindings')
  root.on('level-change', fail)
  root.level = 'trace'
  const texts = reported.map(({ text }) => text)
  for (const text of ['from the child', 'without its logger', 'without bindings']) t.ok(texts.includes(text), text)
})
