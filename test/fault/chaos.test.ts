/** A short chaos run with a fixed seed, and the proof that its checker sees what it looks for. */
import t from 'tap'
import { runChaos } from '../chaos/run.js'
import { atDepth } from '../helpers/depth.js'
import { findViolations, type Stored } from '../helpers/history.js'

const ID = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'

/** A task that was run twice, and nothing wrong with it. */
function makeStored(): Stored {
  return {
    tasks: [{ id: ID, status: 'COMPLETED', version: 5 }],
    transitions: [
      { taskId: ID, version: 1, from: null, status: 'PENDING', attempt: 0 },
      { taskId: ID, version: 2, from: 'PENDING', status: 'PROCESSING', attempt: 1 },
      { taskId: ID, version: 3, from: 'PROCESSING', status: 'PENDING', attempt: 1 },
      { taskId: ID, version: 4, from: 'PENDING', status: 'PROCESSING', attempt: 2 },
      { taskId: ID, version: 5, from: 'PROCESSING', status: 'COMPLETED', attempt: 2 },
    ],
    attempts: [
      { taskId: ID, attempt: 1, startedMs: 1_000, finishedMs: 2_000 },
      { taskId: ID, attempt: 2, startedMs: 2_000, finishedMs: 3_000 },
    ],
  }
}

/** The n-th, which is there. */
function at<Item>(items: Item[], index: number): Item {
  const item = items[index]
  if (item === undefined) throw new Error(`there is no item ${index}`)
  return item
}

const PLANTED: [what: string, plant: (stored: Stored) => void, found: RegExp][] = [
  ['a task that is gone', (stored) => void (stored.tasks = []), /was accepted and is not there/],
  ['a task that is stuck', (stored) => void (stored.tasks = [{ id: ID, status: 'PROCESSING', version: 5 }]), /has not ended: PROCESSING/],
  ['a version that is missing', (stored) => void stored.transitions.splice(2, 1), /has version 4 after 2/],
  ['a version that is there twice', (stored) => void stored.transitions.splice(2, 0, { ...at(makeStored().transitions, 1) }), /has version 2 after 2/],
  ['a transition outside the table', (stored) => void (stored.transitions = [{ ...at(stored.transitions, 0) }, { ...at(stored.transitions, 4), version: 2, from: 'PENDING' }]), /went from PENDING to COMPLETED/],
  ['a transition from elsewhere', (stored) => void (at(stored.transitions, 3).from = 'RETRYING'), /came from RETRYING, and stood at PENDING/],
  ['a history that ends elsewhere', (stored) => void stored.transitions.pop(), /stands at COMPLETED, its history at PROCESSING/],
  ['attempts that overlap', (stored) => void (at(stored.attempts, 1).startedMs = 1_500), /attempt 2 began before attempt 1 had ended/],
]

t.test('the checker is silent where nothing is wrong, and sees each violation', async (t) => {
  t.same(findViolations(makeStored(), [ID]), [])
  for (const [what, plant, found] of PLANTED) {
    const stored = makeStored()
    plant(stored)
    t.match(findViolations(stored, [ID]).join('\n'), found, what)
  }
})

const seconds = atDepth(20, 120)
t.setTimeout(900_000)
t.test(`${seconds} seconds of faults: every promise holds`, { timeout: 600_000 }, async (t) => {
  const report = await runChaos(t, { seed: 20_261_121, seconds })
  t.comment(JSON.stringify(report))
  t.same(report.violations, [])
  t.ok(report.tasks > 50)
  t.ok(Object.keys(report.faults).length >= 4)
})
