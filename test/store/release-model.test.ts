/**
 * The release against its promises: random concurrent commands on a few queues, tenants, types, keys and sequences.
 * After each wave, no limit is exceeded, sequences run in their order, and nothing paused has started. After everything
 * that holds tasks has ended, every task ends, and nothing is left behind.
 */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { findFaults } from '../../src/store/deliveries/inspect.js'
import { openTestDatabase } from '../helpers/database.js'
import { atDepth } from '../helpers/depth.js'
import { findViolations, readStored } from '../helpers/history.js'
import { startPostgres } from '../helpers/services.js'
import { ENDINGS, type Command, type LimitShape } from './release-commands.js'
import { ReleaseWorld } from './release-world.js'

const server = await startPostgres(t)
const db = await openTestDatabase(t, server.url)

const index = fc.nat({ max: 1 })
const priority = fc.constantFrom(0, 0, 5)

const create: fc.Arbitrary<Command> = fc.record({
  kind: fc.constant('create' as const),
  queue: index,
  tenant: index,
  type: index,
  priority,
  count: fc.integer({ min: 1, max: 3 }),
  way: fc.constantFrom('open', 'gated', 'gated', 'gated', 'scheduled', 'expiring'),
  more: fc.constantFrom(
    {},
    {},
    { concurrencyKey: '0' },
    { concurrencyKey: '1', cost: 2 },
    { sequenceKey: '0' },
    { sequenceKey: '1', onFailure: 'skip' as const },
    { concurrencyKey: '0', sequenceKey: '0' },
  ),
})

const limit: fc.Arbitrary<LimitShape> = fc.record({
  of: fc.constantFrom('queue', 'type', 'tenant', 'any'),
  index,
  per: fc.constantFrom('all', 'all', 'tenant', 'key'),
  bound: fc.oneof(
    { weight: 4, arbitrary: fc.record({ concurrency: fc.integer({ min: 1, max: 2 }) }) },
    {
      weight: 2,
      arbitrary: fc.record({ rate: fc.constantFrom(4, 40), whenOver: fc.constantFrom('delay', 'delay', 'skip') }),
    },
    { weight: 1, arbitrary: fc.constant({ ramp: true as const }) },
  ),
})

const picks = <Kind extends string>(...kinds: Kind[]) =>
  fc.record({ kind: fc.constantFrom(...kinds), pick: fc.nat({ max: 12 }) })

const anyCommand = fc.oneof(
  { weight: 5, arbitrary: create },
  { weight: 5, arbitrary: fc.constant<Command>({ kind: 'release' }) },
  { weight: 8, arbitrary: picks('claim') },
  { weight: 5, arbitrary: picks(...(Object.keys(ENDINGS) as (keyof typeof ENDINGS)[])) },
  { weight: 1, arbitrary: picks('cancel') },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('edit' as const), pick: fc.nat({ max: 12 }), priority }) },
  { weight: 1, arbitrary: fc.constant<Command>({ kind: 'expire' }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('take' as const), queue: index }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('heartbeat' as const),
      queue: index,
      slots: fc.nat({ max: 8 }),
      isStopping: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('setLimit' as const), name: index, limit }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('removeLimit' as const), name: index }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('setPause' as const, 'removePause' as const),
      of: fc.constantFrom('queue', 'type', 'tenant', 'key'),
      index,
    }),
  },
)

/** Without these, most waves find nothing to do. */
const START: Command[] = [0, 1].map((queue) => ({ kind: 'heartbeat', queue, slots: 6, isStopping: false }))

t.test('under any concurrency, no limit is exceeded, sequences keep their order, and nothing is stuck', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(anyCommand, { minLength: 3, maxLength: 10 }), { minLength: 6, maxLength: 14 }),
      async (waves) => {
        const world = new ReleaseWorld(db)
        for (const wave of [START, ...waves]) {
          await Promise.all(wave.map((command) => world.run(command as Command)))
          assert.deepEqual(await world.check(), [])
        }
        assert.deepEqual(await world.drain(), [], 'every task ends, and nothing is left behind')
      },
    ),
    {
      numRuns: Number(process.env['MODEL_RUNS'] ?? atDepth(30, 100)),
      endOnFailure: true,
      ...(process.env['SEED'] && { seed: Number(process.env['SEED']) }),
    },
  )
  t.same(findViolations(await readStored(db), []), [], 'no history has a gap or a forbidden change')
  t.same(await findFaults(db), [], 'every unfinished task has a delivery or a lease')
})
