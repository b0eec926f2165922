/**
 * A handler that tries to end, stop or signal the process it runs in, or that of its worker, fails its own attempt and
 * nothing else. With real processes; `npm test` builds the handlers first.
 */
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { readLatestLogs } from '../../src/store/attempts/logs.js'
import { readEnds } from '../helpers/neighbours.js'
import { OWN_TASKS, startRole } from '../helpers/processes.js'
import { openScene } from '../helpers/scene.js'

const scene = await openScene(t, { TASKS_DIR: OWN_TASKS })
await Promise.all([scene.start('web'), scene.start('relay')])
const worker = await startRole(t, 'worker', { env: { ...scene.env, LOG_LEVEL: 'error' } })

const REFUSED: Record<string, RegExp> = {
  'polite exit': /^process\.exit\(3\) was called/,
  'polite exit in a timer': /^process\.exit\(3\) was called/,
  'polite exit in a microtask': /^process\.exit\(3\) was called/,
  'polite exit, caught': /^process\.exit\(3\) was called/,
  'imported exit': /^process\.exit\(3\) was called/,
  'signal to itself': /^process\.kill\(\d+\) was called/,
  'interrupt to itself': /^process\.kill\(\d+, SIGINT\) was called/,
  'signal by number': /^process\.kill\(\d+, 15\) was called/,
  'signal to a pid in text': /^process\.kill\(\d+, SIGTERM\) was called/,
  'imported kill': /^process\.kill\(\d+, SIGTERM\) was called/,
  'stop signal to itself': /^process\.kill\(\d+, SIGSTOP\) was called/,
  'kill signal to itself': /^process\.kill\(\d+, SIGKILL\) was called/,
  'signal in a timer': /^process\.kill\(\d+, SIGTERM\) was called/,
  disconnect: /^process\.disconnect\(\) was called/,
  'message to its parent': /^process\.send\(\) was called/,
  'emitted signal': /^process\.emit\(SIGTERM, SIGTERM\) was called/,
  'emitted disconnect': /^process\.emit\(disconnect\) was called/,
}

/** In a process of its own, a few kinds are enough: each needs another process. */
const KINDS = {
  'test.faulty': Object.keys(REFUSED),
  'test.faulty-isolated': [
    'polite exit',
    'signal to itself',
    'signal by number',
    'disconnect',
    'message to its parent',
  ],
}

for (const [type, hows] of Object.entries(KINDS))
  t.test(
    `a call that would end or stop the process of ${type} fails its own attempt, and is logged once`,
    async (t) => {
      const ids = await Promise.all(hows.map((how) => scene.create({ type, payload: { how } })))
      const ends = await readEnds(scene, ids)
      for (const [index, how] of hows.entries()) {
        const id = ids[index] ?? ''
        t.match(ends[index], { status: 'FAILED', attempt: 1, failure: { code: 'error', message: REFUSED[how] } }, how)
        const stored = await readLatestLogs(DEFAULT_PRINCIPAL, scene.db, id, 10)
        t.match(
          stored.map(({ line }) => line.text),
          [/^the attempt failed because its handler did not catch an error/],
          how,
        )
      }
      // The output of a later attempt comes after all others.
      const [late = ''] = [await scene.create({ type: 'test.late-fault', payload: { how: 'polite exit', afterMs: 1 } })]
      await worker.waitFor(new RegExp(late))
      for (const [index, id] of ids.entries()) {
        const lines = worker
          .stdout()
          .split('\n')
          .filter((line) => line.includes(id))
        // A process that is ended may take its output along.
        t.ok(type === 'test.faulty' ? lines.length === 1 : lines.length <= 1, `${hows[index]}: ${lines.length} lines`)
      }
      t.equal(
        worker
          .stdout()
          .split('\n')
          .filter((line) => line.includes(late)).length,
        1,
        'after the end of its run',
      )
    },
  )

t.test('a handler may ask whether a process exists, and end one that it started', async (t) => {
  const hows = ['question to itself', 'signal to its child']
  const ids = await Promise.all(hows.map((how) => scene.create({ type: 'test.hasty-fault', payload: { how } })))
  t.match(
    await readEnds(scene, ids),
    hows.map(() => ({ status: 'COMPLETED', attempt: 1 })),
  )
})
