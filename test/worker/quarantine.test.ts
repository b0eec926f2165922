/** A type that has ended a worker runs in processes of its own from then on. With real processes. */
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import t from 'tap'
import type { WorkerList } from '../../src/protocol/worker.js'
import { Quarantine } from '../../src/worker/quarantine.js'
import { isDeep } from '../helpers/depth.js'
import { openNeighbourhood, readEnds, startNeighbours } from '../helpers/neighbours.js'

const { scene, worker } = await openNeighbourhood(t, { QUARANTINE_SECONDS: '600' })
const harm = (type: string, how: string) => scene.create({ type, payload: { how } })

async function readWorkers(): Promise<WorkerList> {
  return (await fetch(`${scene.addresses()[0]}/api/workers`)).json() as Promise<WorkerList>
}

/** Ends all quarantines, and resolves once the worker knows. */
async function endQuarantines(): Promise<void> {
  await scene.db.run({ name: 'test_end', text: `update taskwire.quarantined_types set until = now()` }, [])
  // With the second heartbeat from now on, the worker has read the answer to the first.
  await heartbeatAfter(await heartbeatAfter(new Date().toISOString()))
}

/** Resolves with the time of the first heartbeat after this one. */
async function heartbeatAfter(time: string): Promise<string> {
  for (;;) {
    const { items } = await readWorkers()
    const news = items.find(({ state, seenAt }) => state === 'running' && seenAt > time)
    if (news !== undefined) return news.seenAt
    await sleep(50)
  }
}

/** Resolves with the quarantined types once there are any: they are stored beside the end of the task. */
async function untilQuarantined(): Promise<WorkerList['quarantinedTypes']> {
  for (;;) {
    const { quarantinedTypes } = await readWorkers()
    if (quarantinedTypes.length > 0) return quarantinedTypes
    await sleep(50)
  }
}

const FATAL = {
  exit: /exit code 3/,
  microtask: /^thrown in a microtask$/,
  ...(isDeep && { block: /^the handler blocked its event loop/ }),
}

for (const [how, reason] of Object.entries(FATAL))
  t.test(`a type that ends its worker once (${how}) does so only once`, async (t) => {
    await endQuarantines()
    const before = worker.restarts
    await readEnds(scene, [await harm('test.faulty', how)])
    t.equal(worker.restarts, before + 1)
    t.match(await untilQuarantined(), [{ type: 'test.faulty', reason, since: /Z$/, until: /Z$/ }])
    const neighbours = await startNeighbours(scene)
    const guilty = await Promise.all([
      harm('test.faulty', how),
      harm('test.faulty', 'exit'),
      harm('test.faulty', 'kill'),
    ])
    t.match(
      await readEnds(scene, guilty),
      guilty.map(() => ({ status: 'FAILED' })),
    )
    t.match(
      await readEnds(scene, neighbours),
      neighbours.map(() => ({ status: 'COMPLETED', attempt: 1 })),
      'the others finish in their first attempt',
    )
    t.equal(worker.restarts, before + 1)
  })

t.test('an error that is found to be of its own run quarantines nothing', async (t) => {
  await endQuarantines()
  const ends = await readEnds(scene, [
    await harm('test.faulty', 'timer'),
    await harm('test.faulty-isolated', 'exit'),
    await harm('test.faulty-isolated', 'disconnect'),
  ])
  t.match(
    ends.map(({ failure }) => failure?.code),
    ['error', 'process_died', 'error'],
  )
  t.same((await readWorkers()).quarantinedTypes, [])
})

t.test('a heartbeat that was sent before a type was added does not remove it', async (t) => {
  const quarantine = new Quarantine({ db: scene.db, log: pino({ level: 'silent' }), forMs: 60_000 })
  const { revision } = quarantine
  const adding = quarantine.add('test.odd', 'it crashed')
  quarantine.replace([], revision)
  t.ok(quarantine.has('test.odd'), 'while it is being stored')
  await adding
  quarantine.replace([], revision)
  t.ok(quarantine.has('test.odd'))
  quarantine.replace([], quarantine.revision)
  t.notOk(quarantine.has('test.odd'))
})

t.test('a type that cannot be stored stays quarantined, and is stored later', async (t) => {
  const quarantine = new Quarantine({ db: scene.db, log: pino({ level: 'silent' }), forMs: 60_000 })
  const rename = (from: string, to: string) =>
    scene.db.run({ name: `test_rename_${to}`, text: `alter table taskwire.${from} rename to ${to}` }, [])
  await rename('quarantined_types', 'hidden_types')
  await quarantine.add('test.odder', 'it crashed')
  quarantine.replace([], quarantine.revision)
  t.ok(quarantine.has('test.odder'))
  await rename('hidden_types', 'quarantined_types')
  const isStored = async () => (await readWorkers()).quarantinedTypes.some(({ type }) => type === 'test.odder')
  while (!(await isStored())) {
    quarantine.replace([], quarantine.revision)
    await sleep(50)
  }
  t.ok(quarantine.has('test.odder'))
})
