import t from 'tap'
import { explain, reasonOf } from '../../src/broker/explain.js'

t.test('every error yields a reason, and its cause is dropped', async (t) => {
  t.equal(reasonOf(new Error('broken')), 'broken')
  t.equal(reasonOf(Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' })), 'ECONNREFUSED')
  t.equal(reasonOf(new TypeError('')), 'TypeError')
  t.equal(reasonOf('text'), 'text')
  t.strictSame(Object.keys(explain('no broker', Object.assign(new Error('broken'), { command: 'secret' }))), [])
  t.equal(explain('no broker', new Error('broken')).message, 'no broker: broken')
})
