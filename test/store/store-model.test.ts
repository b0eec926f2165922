/**
 * The store against a reference model: random concurrent commands on a few tasks. In whatever order PostgreSQL executes
 * them, their results must form a history that the model allows, and the stored rows must be that history.
 */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { claimAttemptsIfDue } from '../../src/store/attempts/claim.js'
import { renewLeasesIfHeld } from '../../src/store/attempts/lease.js'
import { recordProgressIfCurrent } from '../../src/store/attempts/progress.js'
import { settleAttemptsIfCurrent } from '../../src/store/attempts/settle.js'
import { findFaults } from '../../src/store/deliveries/inspect.js'
import { takeDueDeliveries } from '../../src/store/deliveries/take-due.js'
import { readTasks } from '../../src/store/reads/tasks.js'
import { cancelTasksIfUnfinished } from '../../src/store/tasks/cancel.js'
import { editTaskIfWaiting } from '../../src/store/tasks/edit.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { atDepth } from '../helpers/depth.js'
import { findViolations, readStored } from '../helpers/history.js'
import { startPostgres } from '../helpers/services.js'

const TASKS = 3
const MOST_ATTEMPTS = 4

const server = await startPostgres(t)
const db = await openTestDatabase(t, server.url)

const ENDINGS = {
  complete: { outcome: 'completed', status: 'COMPLETED', reason: null, result: null },
  fail: { outcome: 'failed', status: 'FAILED', reason: 'no' },
  release: { outcome: 'released', status: 'PENDING', reason: 'handed back' },
  lose: { outcome: 'lost', status: 'PENDING', reason: 'worker lost' },
  retry: { outcome: 'failed', status: 'RETRYING', reason: 'no', retryInMs: 0 },
} as const
type Ending = keyof typeof ENDINGS

interface Command {
  kind: 'claim' | 'cancel' | 'edit' | Ending | 'renew' | 'progress' | 'take'
  task: number
  attempt: number
}

const anyCommand: fc.Arbitrary<Command> = fc.record({
  kind: fc.constantFrom<Command['kind']>(
    'claim',
    'claim',
    'claim',
    'complete',
    'fail',
    'retry',
    'cancel',
    'release',
    'release',
    'lose',
    'lose',
    'renew',
    'progress',
    'take',
    'edit',
    'edit',
  ),
  task: fc.nat({ max: TASKS - 1 }),
  attempt: fc.integer({ min: 1, max: MOST_ATTEMPTS }),
})

let editCount = 0

/** Runs the command, and returns whether it created a version. */
async function execute({ kind, attempt }: Command, taskId: string): Promise<boolean> {
  const ref = { taskId, attempt }
  switch (kind) {
    case 'claim':
      return (await claimAttemptsIfDue(db, [ref], 'w', 60_000))[0] !== undefined
    case 'cancel':
      return (
        (await cancelTasksIfUnfinished(DEFAULT_PRINCIPAL, db, [taskId], { reason: null, withChildren: false })).length >
        0
      )
    case 'edit':
      return (
        ((await editTaskIfWaiting(DEFAULT_PRINCIPAL, db, taskId, { title: `edit ${(editCount += 1)}` })) ?? []).length >
        0
      )
    case 'renew':
      await renewLeasesIfHeld(db, [ref], 60_000)
      return false
    case 'progress':
      await recordProgressIfCurrent(db, [{ ...ref, progress: { fraction: 0.5, done: 1, total: 2, message: null } }])
      return false
    case 'take':
      await takeDueDeliveries(db, 'default', 10, 1)
      return false
    default:
      return (await settleAttemptsIfCurrent(db, [{ ...ref, ...ENDINGS[kind] }]))[0] !== undefined
  }
}

/**
 * Returns the state of the model after the commands that had an effect, in whatever order they ran. Throws if no order
 * explains them.
 */
function explain(done: readonly Command[]): { status: string; version: number; attempt: number } {
  const claims = done.filter(({ kind }) => kind === 'claim')
  const endings = done.filter(({ kind }) => kind in ENDINGS)
  const attempts = claims.map(({ attempt }) => attempt).sort()
  assert.deepEqual(
    attempts,
    attempts.map((_, index) => index + 1),
    'attempts begin once each, one after the other',
  )
  for (const { attempt } of endings) assert.ok(attempts.includes(attempt), `attempt ${attempt} ended and never began`)
  for (const attempt of attempts) {
    const ended = endings.filter((ending) => ending.attempt === attempt)
    assert.ok(ended.length <= 1, `attempt ${attempt} ended ${ended.length} times`)
    const isLast = attempt === attempts.length
    if (!isLast)
      assert.ok(
        ended.length && isPutBack(ended[0]),
        `attempt ${attempt + 1} began while attempt ${attempt} was not put back`,
      )
  }
  const lastEnding = endings.find(({ attempt }) => attempt === attempts.length)
  const status =
    attempts.length === 0 ? 'PENDING' : lastEnding ? ENDINGS[lastEnding.kind as Ending].status : 'PROCESSING'
  const cancels = done.filter(({ kind }) => kind === 'cancel')
  assert.ok(cancels.length <= 1, 'a task is cancelled once')
  const edits = done.filter(({ kind }) => kind === 'edit')
  return {
    status: cancels.length === 0 ? status : afterCancel(status),
    version: 1 + claims.length + endings.length + cancels.length + edits.length,
    attempt: attempts.length,
  }
}

function isPutBack(ending: Command | undefined): boolean {
  return ['PENDING', 'RETRYING'].includes(ENDINGS[ending?.kind as Ending].status)
}

/**
 * A handler may complete before the cancel arrives. Otherwise a cancelled task ends as CANCELLED, whether the cancel
 * came before or after the end of its attempt.
 */
function afterCancel(status: string): string {
  if (status === 'COMPLETED') return 'COMPLETED'
  return status === 'PROCESSING' ? 'CANCELLING' : 'CANCELLED'
}

t.test('under any concurrency, answers and rows describe one history that the model allows', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(anyCommand, { minLength: 2, maxLength: 12 }), { minLength: 4, maxLength: 10 }),
      async (waves) => {
        const ids = await storeTasks(db, TASKS)
        const done: Command[] = []
        for (const wave of waves) {
          const changed = await Promise.all(wave.map((command) => execute(command, ids[command.task] ?? '')))
          done.push(...wave.filter((_, index) => changed[index]))
        }
        const tasks = await readTasks(DEFAULT_PRINCIPAL, db, ids)
        for (const [index, id] of ids.entries()) {
          const { status, version, attempt } = tasks.find((task) => task.id === id) ?? {}
          assert.deepEqual({ status, version, attempt }, explain(done.filter(({ task }) => task === index)))
        }
      },
    ),
    { numRuns: atDepth(60, 400) },
  )
  t.same(
    findViolations(await readStored(db), []),
    [],
    'no history has a gap, a forbidden change or two attempts at once',
  )
  t.same(await findFaults(db), [], 'every unfinished task has a delivery or a lease')
})

t.test('the model refuses impossible histories', async (t) => {
  const claim = (attempt: number): Command => ({ kind: 'claim', task: 0, attempt })
  const end = (kind: Ending, attempt: number): Command => ({ kind, task: 0, attempt })
  t.throws(() => explain([claim(1), claim(1)]), /once each/)
  t.throws(() => explain([end('complete', 1)]), /never began/)
  t.throws(() => explain([claim(1), end('complete', 1), end('lose', 1)]), /ended 2 times/)
  t.throws(() => explain([claim(1), claim(2)]), /was not put back/)
  t.throws(() => explain([claim(1), end('complete', 1), claim(2)]), /was not put back/)
  t.same(explain([claim(2), end('release', 1), claim(1)]), { status: 'PROCESSING', version: 4, attempt: 2 })
})
