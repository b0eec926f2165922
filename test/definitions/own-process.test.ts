/** Which calls of `process` are refused to the code of types. Here nothing is really signalled; see `worker/own-process.test.ts`. */
import process, { exit as importedExit, kill as importedKill } from 'node:process'
import { pino } from 'pino'
import t from 'tap'
import { callTypeCode, runInScope } from '../../src/definitions/handler-scope.js'
import { guardOwnProcess } from '../../src/definitions/own-process.js'

const log = pino({ level: 'silent' })
/** What reached the process. */
const passed: unknown[][] = []
const real = { exit: process.exit, kill: process.kill, disconnect: process.disconnect }
for (const name of ['exit', 'kill', 'disconnect'] as const)
  Reflect.set(process, name, (...args: unknown[]) => passed.push([name, ...args]))
guardOwnProcess(log)
t.teardown(() => Object.assign(process, real))

const { pid, ppid } = process
const REFUSED: Record<string, () => unknown> = {
  'exit()': () => process.exit(),
  'exit(3)': () => process.exit(3),
  'imported exit': () => importedExit(3),
  'disconnect()': () => process.disconnect(),
  ...Object.fromEntries(
    [pid, ppid, 0, -1, -pid, -ppid].flatMap((target) =>
      ['SIGTERM', 'SIGINT', 'SIGKILL', 'SIGSTOP', 'SIGUSR1', 15, undefined].map((signal) => [
        `kill(${target}, ${signal})`,
        () => process.kill(target, signal),
      ]),
    ),
  ),
  'imported kill': () => importedKill(pid, 'SIGTERM'),
  'kill of a text': () => process.kill(String(pid) as unknown as number, 'SIGTERM'),
}
const OTHERS: Record<string, () => unknown> = {
  'a question to itself': () => process.kill(pid, 0),
  'a signal to another process': () => process.kill(2 ** 22 + 1, 'SIGTERM'),
  'a signal to another group': () => process.kill(-(2 ** 22 + 1), 'SIGTERM'),
}

/** Runs the call as a handler would. */
async function handle(call: () => unknown): Promise<string> {
  const strays: unknown[] = []
  const options = { signal: new AbortController().signal, onStray: (error: unknown) => void strays.push(error) }
  const error: unknown = await runInScope(options, async () => call()).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  t.equal(strays.length, error === undefined ? 0 : 1, 'the run is told once')
  return (error as Error | undefined)?.message ?? 'nothing'
}

t.test('calls that would end, stop or signal the process, its parent or their groups never reach it', async (t) => {
  passed.length = 0
  for (const [name, call] of Object.entries(REFUSED)) {
    t.match(await handle(call), /^process\.(exit|kill|disconnect)\(.*\) was called, /, name)
    t.throws(() => callTypeCode('test', call), { message: / was called, / }, `${name}, outside of a run`)
  }
  t.same(passed, [])
})

t.test('other calls, and calls of the server itself, are passed on', async (t) => {
  for (const [name, call] of Object.entries(OTHERS)) {
    passed.length = 0
    t.equal(await handle(call), 'nothing', name)
    t.equal(passed.length, 1, name)
  }
  for (const [name, call] of Object.entries(REFUSED)) {
    passed.length = 0
    call()
    t.equal(passed.length, 1, name)
  }
})
