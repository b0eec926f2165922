/**
 * A handler that harms its process does not affect the other runs of its worker. `npm test` builds the handlers first.
 */
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { readLatestLogs } from '../../src/store/attempts/logs.js'
import { openNeighbourhood, readEnds, startNeighbours } from '../helpers/neighbours.js'
import { copyTasks } from '../helpers/processes.js'
import { openScene } from '../helpers/scene.js'

t.setTimeout(900_000)

/** No worker is to die here, however long a busy machine lets it wait: one that is blocked for a lease is killed. */
const LONG_LEASE = { ATTEMPT_LEASE_SECONDS: '120' }

t.test(
  'an uncaught error of a handler fails its own attempt, with the error itself, and the worker survives',
  async (t) => {
    const { scene, worker } = await openNeighbourhood(t, LONG_LEASE)
    const neighbours = await startNeighbours(scene, 100)
    const messages: Record<string, string | RegExp> = {
      rejection: 'nobody awaits this',
      'async function': 'nobody awaits this',
      'odd rejection': '{ toString: 0 }',
      'rejection with nothing': 'null',
      'rejection with a proxy': 'the handler threw a value that cannot be read',
      'rejection with a getter': /./,
      'immediate with nothing': 'undefined',
      'many rejections': 'nobody awaits 0',
      timer: 'thrown in a timer',
      immediate: 'thrown in an immediate',
      tick: 'thrown in a tick',
      emitter: 'emitted as an error',
      'listener of the signal': 'thrown in a timer',
      'polite exit': /^process\.exit\(3\) was called/,
      'polite exit in a timer': /^process\.exit\(3\) was called/,
      'polite exit in a microtask': /^process\.exit\(3\) was called/,
      'polite exit, caught': /^process\.exit\(3\) was called/,
    }
    // A few kinds are enough for handlers in separate processes, because each needs another process.
    const hasty = [
      'rejection',
      'odd rejection',
      'rejection with nothing',
      'rejection with a proxy',
      'many rejections',
      'tick',
    ]
    const kinds = {
      'test.faulty': Object.keys(messages),
      'test.hasty-fault': hasty,
      'test.faulty-isolated': ['rejection', 'rejection with nothing', 'timer', 'polite exit'],
    }
    for (const [type, hows] of Object.entries(kinds)) {
      const guilty = await Promise.all(hows.map((how) => scene.create({ type, payload: { how } })))
      const ends = await readEnds(scene, guilty)
      for (const [index, how] of hows.entries())
        t.match(
          ends[index],
          { status: 'FAILED', attempt: 1, failure: { code: 'error', message: messages[how] } },
          `${type}: ${how}`,
        )
      t.match(
        (await readLatestLogs(DEFAULT_PRINCIPAL, scene.db, guilty[0] ?? '', 10)).map(({ line }) => line.text),
        [/^the attempt failed because its handler did not catch an error/],
      )
    }
    const late = await Promise.all(
      ['timer', 'rejection'].map((how) => scene.create({ type: 'test.late-fault', payload: { how, afterMs: 10 } })),
    )
    for (const task of await readEnds(scene, late)) t.match(task, { status: 'COMPLETED' })
    for (const task of await readEnds(scene, neighbours)) t.match(task, { status: 'COMPLETED', attempt: 1 })
    t.equal(worker.restarts, 0)
    t.same(await scene.violations([...neighbours, ...late]), [])
  },
)

t.test(
  'code of a type that leaves a rejection behind outside of its run, or exits, ends neither web nor worker',
  async (t) => {
    const scene = await openScene(t, { TASKS_DIR: await copyTasks(t, 'faulty'), ...LONG_LEASE })
    const [web, worker] = await Promise.all([scene.keep('web'), scene.keep('worker'), scene.start('relay')])
    const [address = ''] = scene.addresses()
    for (const [type, because, how] of [
      ['test.async-options', 'uniqueBy must return a string', 'rejection'],
      ['test.async-check', 'checkPayload must return errors', 'rejection'],
      ['test.exiting-check', 'checkPayload must not exit', 'polite exit'],
    ] as const) {
      const refused = await fetch(`${address}/api/tasks`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ type, payload: { how } }),
      })
      t.equal(refused.status, 422, because)
    }
    for (const how of ['microtask', 'tick']) await scene.create({ type: 'test.exiting-check', payload: { how } })
    const ids = await Promise.all([
      scene.create({ type: 'test.async-options', payload: { how: 'tick' } }),
      scene.create({ type: 'test.rejecting-result', payload: { how: 'tick' } }),
    ])
    const [tried, returned] = await readEnds(scene, ids)
    t.match(tried, { status: 'FAILED', attempt: 2, failure: { message: 'again' } })
    t.match(returned, { attempt: 1, failure: { code: 'invalid_result' } })
    t.same([web.restarts, worker.restarts], [0, 0])
  },
)
