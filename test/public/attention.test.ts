/** What the page "Workers" says needs attention. */
import t from 'tap'
import { describeNews, findAttention } from '../../public/format/attention.js'

const worker = (state: string) => ({ state })
const queue = (name: string, workers: number, hasWaiting: boolean) => ({ name, workers, hasWaiting })
const calm = {
  items: [worker('running')],
  queues: [queue('default', 1, true)],
  typesWithoutWorker: [],
  quarantinedTypes: [],
}
const find = (changes: object) => (findAttention({ ...calm, ...changes }) as { what: string }[]).map(({ what }) => what)

t.test('nothing, while every queue with tasks and every type has a worker', async (t) => {
  t.same(find({}), [])
  t.same(find({ queues: [queue('reports', 0, false)] }), [], 'an empty queue needs no worker')
  t.same(find({ items: [worker('lost'), worker('drained'), worker('running')] }), [])
})

t.test('no worker at all, or none that takes tasks, is said alone', async (t) => {
  const lacking = { queues: [queue('default', 0, true)], typesWithoutWorker: ['demo.sleep'] }
  t.match(find({ ...lacking, items: [] }), [/^No worker sends heartbeats/])
  t.match(find({ ...lacking, items: [worker('lost')] }), [/^No worker sends heartbeats/])
  t.match(find({ ...lacking, items: [worker('drained'), worker('stopping')] }), [/^No worker takes tasks/])
})

t.test('queues and types without a worker, and types in quarantine', async (t) => {
  t.match(
    find({
      queues: [queue('reports', 0, true), queue('emails', 0, true)],
      typesWithoutWorker: ['a.b'],
      quarantinedTypes: [{ type: 'c.d', reason: 'exit code 3' }],
    }),
    [/queues: reports, emails/, /the type a\.b/, /type c\.d ended its process: exit code 3/],
  )
})

t.test('only what is new is announced, and once', async (t) => {
  const [a, b] = [{ what: 'A.' }, { what: 'B.' }]
  const announced = (before: object[], found: object[]) => describeNews(before, found) as string | undefined
  t.equal(announced([], []), undefined)
  t.equal(announced([], [a, b]), 'Needs attention: A. B.')
  t.equal(announced([a], [a, b]), 'Needs attention: B.')
  t.equal(announced([a, b], [{ ...b }, { ...a }]), undefined)
  t.equal(announced([a], [b]), 'Needs attention: B.')
  t.equal(announced([a, b], [a]), '', 'so that B can be announced again')
  t.equal(announced([a], []), 'Nothing needs attention any more.')
})
