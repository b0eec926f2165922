import t from 'tap'
import { pino } from 'pino'
import { createHandlerLog, MAX_LINES } from '../../src/tasks/handler-log.js'

function setUp(level: string) {
  const printed: Record<string, unknown>[] = []
  const reported: { level: string; text: string; atMs: number }[] = []
  const root = pino({ level, base: { name: 'worker' } }, { write: (json) => void printed.push(JSON.parse(json) as Record<string, unknown>) })
  return { printed, reported, log: createHandlerLog(root, { taskId: 'x', attempt: 2 }, (line) => reported.push(line)) }
}

t.test('a line is printed with the task and stored as a text', async (t) => {
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

t.test('what is stored does not hang on what the worker prints', async (t) => {
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
