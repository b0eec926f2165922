/** What a handler that harms its process does to the other runs of its worker: nothing. `npm test` builds them first. */
import t from 'tap'
import type { Task } from '../../src/protocol/task.js'
import { readLatestLogs, readTasks, readTransitions } from '../../src/tasks/store/index.js'
import { OWN_TASKS } from '../helpers/processes.js'
import { openScene, type Scene } from '../helpers/scene.js'
import type { TestScope } from '../helpers/services.js'

t.setTimeout(300_000)

const NEIGHBOURS = 20

async function openNeighbourhood(t: TestScope, env: Record<string, string> = {}) {
  const scene = await openScene(t, { TASKS_DIR: OWN_TASKS })
  await Promise.all([scene.start('web'), scene.start('relay')])
  return { scene, worker: await scene.keep('worker', env, env) }
}

/** Well-behaved runs, all of them under way. */
async function startNeighbours(scene: Scene, stepMs = 100): Promise<string[]> {
  const ids = await Promise.all(Array.from({ length: NEIGHBOURS }, () => scene.create({ title: 'a neighbour', payload: { steps: 10, stepMs } })))
  await scene.running(ids)
  return ids
}

async function readEnds(scene: Scene, ids: readonly string[]): Promise<Task[]> {
  await scene.ended(ids, 240_000)
  const found = new Map((await readTasks(scene.db, 'default', [...ids])).map((task) => [task.id, task]))
  return ids.flatMap((id) => found.get(id) ?? [])
}

t.test('an error that a handler does not catch fails its own attempt, with the error itself, and the worker lives', async (t) => {
  const { scene, worker } = await openNeighbourhood(t)
  const neighbours = await startNeighbours(scene)
  const messages: Record<string, string | RegExp> = {
    rejection: 'nobody awaits this',
    'async function': 'nobody awaits this',
    'odd rejection': '{ toString: 0 }',
    timer: 'thrown in a timer',
    immediate: 'thrown in an immediate',
    tick: 'thrown in a tick',
    emitter: 'emitted as an error',
    'listener of the signal': 'thrown in a timer',
  }
  // In processes of their own a few of them will do: each needs another one.
  const kinds = { 'test.faulty': Object.keys(messages), 'test.faulty-isolated': ['rejection', 'timer'] }
  for (const [type, hows] of Object.entries(kinds)) {
    const guilty = await Promise.all(hows.map((how) => scene.create({ type, payload: { how } })))
    const ends = await readEnds(scene, guilty)
    for (const [index, how] of hows.entries()) t.match(ends[index], { status: 'FAILED', attempt: 1, failure: { code: 'error', message: messages[how] } }, `${type}: ${how}`)
    t.match((await readLatestLogs(scene.db, 'default', guilty[0] ?? '', 10)).map(({ line }) => line.text), [/^the attempt failed by an error that its handler did not catch/])
  }
  const late = await Promise.all(['timer', 'rejection'].map((how) => scene.create({ type: 'test.late-fault', payload: { how, afterMs: 10 } })))
  for (const task of await readEnds(scene, late)) t.match(task, { status: 'COMPLETED' })
  for (const task of await readEnds(scene, neighbours)) t.match(task, { status: 'COMPLETED', attempt: 1 })
  t.equal(worker.restarts, 0)
  t.same(await scene.violations([...neighbours, ...late]), [])
})

t.test('a handler that ends its worker fails by what it did, and the neighbours that were lost with it complete', async (t) => {
  // A small heap, so that the leak is a matter of seconds. It is that of its processes, too.
  const { scene, worker } = await openNeighbourhood(t, { NODE_OPTIONS: '--max-old-space-size=192', ATTEMPT_LEASE_SECONDS: '5' })
  const neighbours = await startNeighbours(scene, 500)
  const messages: Record<string, RegExp> = {
    exit: /exit code 3/,
    abort: /SIGABRT/,
    kill: /SIGKILL/,
    segfault: /SIGSEGV/,
    leak: /memory/,
    block: /blocked its event loop for 5 s/,
    microtask: /thrown in a microtask/,
    'listener of others': /thrown in a listener of others/,
  }
  const guilty = await Promise.all(Object.keys(messages).map((how) => scene.create({ type: 'test.faulty', payload: { how, afterMs: 1_000 } })))
  const ends = await readEnds(scene, guilty)
  for (const [index, [how, message]] of Object.entries(messages).entries()) t.match(ends[index], { status: 'FAILED', failure: { message } }, how)
  for (const task of await readEnds(scene, neighbours)) t.match(task, { status: 'COMPLETED' })
  const story = (await readTransitions(scene.db, 'default', neighbours[0] ?? '')).map(({ status, reason }) => [status, reason])
  t.match(story[2], ['PENDING', 'worker lost with other attempts; put back, to run alone'])
  t.ok(worker.restarts >= 1)
  t.same(await scene.violations([...neighbours, ...guilty]), [])
})
