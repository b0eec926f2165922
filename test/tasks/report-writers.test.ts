/** What a handler reports is stored before its attempt ends, at whatever moment it is reported. */
import { pino } from 'pino'
import t from 'tap'
import type { Event } from '../../src/protocol/stream.js'
import { claimAttemptsIfDue } from '../../src/store/attempts/claim.js'
import { LogWriter, MAX_WAITING_LINES } from '../../src/tasks/attempt/report-writers.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const server = await startPostgres(t)
const db = await openTestDatabase(t, server.url)
const log = pino({ level: 'silent' })

t.test('a flush writes a line that is added in any of the turns in which the write before it ends', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  await claimAttemptsIfDue(db, [{ taskId, attempt: 1 }], 'test', 60_000)
  for (let turns = 0; turns < 12; turns += 1) {
    const published: Event[] = []
    await new Promise<void>((resolve) => {
      const writer = new LogWriter({ db, log, publish })
      const add = (text: string) => writer.add({ taskId, attempt: 1, atMs: Date.now(), level: 'info', text })
      async function addSecond(): Promise<void> {
        for (let turn = 0; turn < turns; turn += 1) await undefined
        add('second')
        await writer.flush(taskId)
        resolve()
      }
      function publish(events: readonly Event[]): void {
        published.push(...events)
        if (published.length === 1) void addSecond()
      }
      add('first')
      void writer.flush(taskId)
    })
    t.match(published, [{ line: { text: 'first' } }, { line: { text: 'second' } }], `${turns} turns later`)
  }
})

t.test('log lines that are dropped are counted in the log', async (t) => {
  const [taskId = ''] = await storeTasks(db, 1)
  await claimAttemptsIfDue(db, [{ taskId, attempt: 1 }], 'test', 60_000)
  const lines: { msg: string; count?: number }[] = []
  const listening = pino({}, { write: (line) => void lines.push(JSON.parse(line) as { msg: string }) })
  const writer = new LogWriter({ db, log: listening, publish() {} })
  for (let index = 0; index < MAX_WAITING_LINES + 3; index += 1)
    writer.add({ taskId, attempt: 1, atMs: Date.now(), level: 'info', text: `line ${index}` })
  await writer.flush(taskId)
  t.match(lines, [
    { msg: `more than ${MAX_WAITING_LINES} log lines of handlers wait to be stored; dropping further ones` },
    { msg: 'log lines of handlers were dropped', count: 3 },
  ])
})
