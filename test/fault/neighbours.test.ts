/**
 * Handlers that end a process which they share: the other runs complete, and the culprit fails with the cause. `npm
 * test` builds the handlers first.
 */
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { readTransitions } from '../../src/store/reads/tasks.js'
import { isDeep } from '../helpers/depth.js'
import { openNeighbourhood, readEnds, startNeighbours } from '../helpers/neighbours.js'

t.setTimeout(900_000)

t.test('a handler that ends its worker fails with the cause, and its neighbours complete', async (t) => {
  // A small heap, which a leak fills within seconds. The processes of its handlers inherit the limit.
  const { scene, worker } = await openNeighbourhood(t, {
    NODE_OPTIONS: '--max-old-space-size=192',
    ATTEMPT_LEASE_SECONDS: '5',
  })
  const neighbours = await startNeighbours(scene, 500)
  const messages: Record<string, RegExp> = {
    exit: /exit code 3/,
    kill: /SIGKILL/,
    // On a slow machine, garbage collection may take longer than a whole lease.
    leak: /memory|blocked its event loop/,
    block: /blocked its event loop for 5 s/,
    'listener of others': /thrown in a listener of others/,
    // Other signals end a process as SIGKILL does, and worker/quarantine.test.ts throws in a microtask each time.
    ...(isDeep && { abort: /SIGABRT/, segfault: /SIGSEGV/, microtask: /thrown in a microtask/ }),
  }
  const guilty = await Promise.all(
    Object.keys(messages).map((how) => scene.create({ type: 'test.faulty', payload: { how, afterMs: 500 } })),
  )
  const ends = await readEnds(scene, guilty)
  for (const [index, [how, message]] of Object.entries(messages).entries())
    t.match(ends[index], { status: 'FAILED', failure: { message } }, how)
  for (const task of await readEnds(scene, neighbours)) t.match(task, { status: 'COMPLETED' })
  const story = (await readTransitions(DEFAULT_PRINCIPAL, scene.db, neighbours[0] ?? '')).map(({ status, reason }) => [
    status,
    reason,
  ])
  t.match(story[2], ['PENDING', 'worker lost with other attempts; put back, to run alone'])
  t.ok(worker.restarts >= 1)
  t.same(await scene.violations([...neighbours, ...guilty]), [])
})
