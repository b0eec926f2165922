import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { fold, isFinal, shouldReconnect } from '../../public/task-stream.js'
import * as status from '../../src/protocol/status.js'
import * as stream from '../../src/protocol/stream.js'
import type { StreamMessage } from '../../src/protocol/stream.js'
import type { Task } from '../../src/protocol/task.js'
import { anyHistory, at, endOf, makeTask, progress, refill, snapshot, TASK_ID, transition } from './histories.js'

const resumed: StreamMessage = { type: 'resumed', taskId: TASK_ID, status: 'PENDING', version: 3 }
const running = makeTask({ status: 'PROCESSING', version: 3, attempt: 1, startedAt: at(2) })

t.test('the client agrees with the protocol on final statuses and close codes', async (t) => {
  for (const each of status.STATUSES) t.equal(isFinal(each), status.isFinal(each), each)
  const codes = Array.from({ length: 4000 }, (_, index) => 1000 + index)
  t.same(codes.filter(shouldReconnect), codes.filter(stream.shouldReconnect))
})

t.test('the effect of a message depends on its version and the held one', async (t) => {
  const table: [string, Task | undefined, StreamMessage, string][] = [
    ['a first snapshot', undefined, snapshot(running), 'applied'],
    ['a newer snapshot', running, snapshot(makeTask({ version: 4 })), 'applied'],
    ['a snapshot of the same version', running, snapshot(makeTask({ version: 3 })), 'applied'],
    ['an older snapshot', running, snapshot(makeTask({ version: 2 })), 'stale'],
    ['an older snapshot that resets', running, { ...snapshot(makeTask({ version: 2 })), reset: true }, 'applied'],
    ['a resumption', running, resumed, 'applied'],
    ['a resumption with nothing held', undefined, resumed, 'applied'],
    ['a transition with nothing held', undefined, transition(1, 'PENDING'), 'gap'],
    ['a transition of an older version', running, transition(2, 'PROCESSING'), 'stale'],
    ['a transition of the same version', running, transition(3, 'PROCESSING'), 'stale'],
    ['the next transition', running, transition(4, 'COMPLETED'), 'applied'],
    ['a transition beyond the next', running, transition(5, 'COMPLETED'), 'gap'],
    ['progress with nothing held', undefined, progress(3, 0.5), 'gap'],
    ['progress of an older version', running, progress(2, 0.5), 'stale'],
    ['progress of the same version', running, progress(3, 0.5), 'applied'],
    ['progress of a later version', running, progress(4, 0.5), 'gap'],
    ['progress of another attempt', running, progress(3, 0.5, { attempt: 2 }), 'stale'],
    ['older progress', fold(running, progress(3, 0.75)).task, progress(3, 0.5), 'stale'],
    ['later progress', fold(running, progress(3, 0.25)).task, progress(3, 0.5), 'applied'],
  ]
  for (const [name, task, message, outcome] of table) {
    const folded = fold(task, message)
    t.equal(folded.outcome, outcome, name)
    if (outcome !== 'applied' || message.type === 'resumed') t.equal(folded.task, task, `${name} leaves the task alone`)
    else t.equal(folded.task?.version, message.version, `${name} leads to its version`)
  }
})

t.test('a transition sets the fields that follow from it and keeps the others', async (t) => {
  const progressed = fold(running, progress(3, 0.5)).task
  const retrying = fold(progressed, transition(4, 'RETRYING', { runAt: at(9) })).task
  t.same(retrying, { ...progressed, status: 'RETRYING', version: 4, runAt: at(9) })

  const again = fold(retrying, transition(5, 'PROCESSING', { attempt: 2 })).task
  t.same(again, { ...retrying, status: 'PROCESSING', version: 5, attempt: 2, runAt: null, progress: null })
  t.equal(again.startedAt, at(2), 'the first start stays')

  const result = { pages: 3 }
  const completed = fold(again, transition(6, 'COMPLETED', { attempt: 2, result })).task
  t.same(completed, { ...again, status: 'COMPLETED', version: 6, result, finishedAt: at(6) })

  const failure = { code: 'error', message: 'no', attempt: 2 } as const
  const failed = fold(again, transition(6, 'FAILED', { attempt: 2, failure })).task
  t.same(failed, { ...again, status: 'FAILED', version: 6, failure, finishedAt: at(6) })

  t.equal(fold(makeTask(), transition(2, 'PROCESSING')).task.startedAt, at(2))
  t.equal(fold(again, transition(6, 'CANCELLED')).task.finishedAt, at(6))
  t.equal(fold(again, transition(6, 'COMPLETED')).task.result, null)
})

t.test('an edit sets its values and keeps the rest, even if a later edit replaced them', async (t) => {
  const scheduled = makeTask({ status: 'SCHEDULED', version: 2, runAt: at(60), tags: ['a'] })
  const moved = transition(3, 'SCHEDULED', {
    from: 'SCHEDULED',
    attempt: 0,
    edited: ['runAt', 'title'],
    changes: { runAt: at(8), title: 'sooner' },
    runAt: at(8),
  })
  t.same(fold(scheduled, moved).task, { ...scheduled, version: 3, runAt: at(8), title: 'sooner' })
  const replaced = transition(3, 'SCHEDULED', { from: 'SCHEDULED', attempt: 0, edited: ['title'], changes: {} })
  t.same(fold(scheduled, replaced).task, { ...scheduled, version: 3 }, 'the start stays')
  const running = fold(fold(scheduled, moved).task, transition(4, 'PENDING', { attempt: 0 })).task
  t.match(running, { title: 'sooner', runAt: null, version: 4 })
})

t.test('folding never mutates its arguments', async () => {
  fc.assert(
    fc.property(anyHistory, ({ first, messages }) => {
      messages.reduce<Task>((task, message) => fold(deepFreeze(task), deepFreeze(message)).task, first)
    }),
  )
})

t.test('with refills a watcher reaches the state of the task, whatever is lost, repeated or reordered', async () => {
  const anyDelivery = anyHistory.chain((history) =>
    fc.record({
      history: fc.constant(history),
      arrivals: fc.array(fc.nat({ max: Math.max(0, history.messages.length - 1) }), { maxLength: 60 }),
      isLateJoiner: fc.boolean(),
    }),
  )
  fc.assert(
    fc.property(anyDelivery, ({ history, arrivals, isLateJoiner }) => {
      let task: Task | undefined = isLateJoiner ? undefined : history.first
      const versions: number[] = []
      const take = (message: StreamMessage): void => {
        const folded = fold(task, message)
        if (folded.task && folded.task.version !== task?.version) versions.push(folded.task.version)
        const isSameVersion = folded.task?.version === task?.version
        if (isSameVersion)
          assert.ok((folded.task?.progress?.at ?? '') >= (task?.progress?.at ?? ''), 'progress went back')
        task = folded.task
        if (folded.outcome === 'gap') fill()
      }
      const fill = (): void => (task ? refill(history, task.version) : [snapshot(endOf(history))]).forEach(take)

      for (const index of arrivals) {
        const message = history.messages[index]
        if (message) take(message)
      }
      fill()

      const [firstSeen = 0] = versions
      assert.deepStrictEqual(
        versions,
        versions.map((_, index) => firstSeen + index),
        'each version once, in order',
      )
      const end = endOf(history)
      // The last progress of a finished attempt is a hint that may be lost; the rest must be equal.
      const expected = end.status === 'PROCESSING' ? end : { ...end, progress: task?.progress }
      assert.deepStrictEqual(task, expected)
    }),
  )
})

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(deepFreeze)
  return value
}
