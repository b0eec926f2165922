/**
 * Each mechanism that keeps tasks from being lost, stuck or duplicated is removed from a copy of the source, and a test
 * must detect it. The mutants of the live streams are in `test/live/mutants.deep.ts`.
 */
import t from 'tap'
import { testMutants, type Mutant } from '../helpers/mutants.js'

const MUTANTS: Mutant[] = [
  {
    without: 'the attempt in the condition of a settlement',
    file: 'src/store/attempts/settle.ts',
    from: `where: \`t.attempt = any(array[i.attempt]) and t.status \${inStatuses(RUNNING_STATUSES)}`,
    to: `where: \`t.status \${inStatuses(RUNNING_STATUSES)}`,
    test: 'test/store/store-model.test.ts',
  },
  {
    without: 'the status in the condition of a settlement: a rescue beside a finish',
    file: 'src/store/attempts/settle.ts',
    from: `where: \`t.attempt = any(array[i.attempt]) and t.status \${inStatuses(RUNNING_STATUSES)}`,
    to: `where: \`t.attempt = any(array[i.attempt])`,
    test: 'test/store/store-model.test.ts',
  },
  {
    without: 'the attempt in the condition of a claim',
    file: 'src/store/attempts/claim.ts',
    from: `where: \`t.attempt = any(array[i.attempt - 1]) and t.status`,
    to: `where: \`t.status`,
    test: 'test/store/store-model.test.ts',
  },
  {
    without: 'the status in the condition of a claim',
    file: 'src/store/attempts/claim.ts',
    from: ` and t.status \${inStatuses(STARTABLE_STATUSES)} and`,
    to: ` and`,
    test: 'test/store/store-model.test.ts',
  },
  {
    without: 'the expiry of a lease: a heartbeat revives it',
    file: 'src/store/attempts/lease.ts',
    from: `lockLeases('and l.lease_until >= now()')`,
    to: 'lockLeases()',
    test: 'test/store/store.test.ts',
  },
  {
    without: 'the second dispatch of an unclaimed delivery',
    file: 'src/store/deliveries/take-due.ts',
    from: `due_at = now() + least(`,
    to: `due_at = 'infinity'::timestamptz + least(`,
    test: 'test/store/store.test.ts',
  },
  {
    without: "the broker's epoch",
    file: 'src/store/deliveries/redeliver.ts',
    from: 'where e.epoch <> excluded.epoch',
    to: 'where false',
    test: 'test/store/redeliver.test.ts',
  },
  {
    without: 'the attempt in the name of a job',
    file: 'src/broker/delivery-queue.ts',
    from: '`${taskId}-a${attempt}`',
    to: 'taskId',
    test: 'test/broker/conformance.test.ts',
  },
  {
    without: 'the commit before the publication',
    file: 'src/tasks/attempt/recorder.ts',
    from: '      const event = await settlements.add(settlement)\n',
    to: `      publish([{ type: 'transition', taskId: settlement.taskId, status: settlement.status, version: 3, from: 'PROCESSING', attempt: 1, at: '', reason: null }])\n      const event = await settlements.add(settlement)\n`,
    test: 'test/tasks/attempt.test.ts',
  },
  {
    without: 'the key in the create statement',
    file: 'src/store/tasks/create-once.ts',
    from: `source: 'accepted'`,
    to: `source: 'input'`,
    test: 'test/web/idempotency.test.ts',
  },
  {
    without: 'the record of an effect',
    file: 'src/tasks/attempt/context/effects.ts',
    from: '    if (known.isRecorded) return known.value\n',
    to: '',
    test: 'test/tasks/effects.test.ts',
  },
  {
    without: 'the fence of an effect',
    file: 'src/tasks/attempt/context/effects.ts',
    from: '    if (!known.isCurrent) throw fence.leaseLost()\n',
    to: '',
    test: 'test/tasks/effects.test.ts',
  },
]

// A test that waits for an event that never arrives fails after this many seconds.
const SETTINGS = { TAP_TIMEOUT: '30' }

await testMutants(t, MUTANTS, SETTINGS)
