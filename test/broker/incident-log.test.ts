import t from 'tap'
import { createIncidentLog } from '../../src/broker/incident-log.js'
import { createLog } from './brokers.js'

t.test('an incident is logged at once, and its repeats are counted until the interval is over', async (t) => {
  const log = createLog()
  const incidents = createIncidentLog(log, 100)
  for (let i = 0; i < 5; i += 1) incidents.warn('link lost', new Error(`refused ${i}`))
  incidents.warn('another', new Error('broken'))
  t.strictSame(log.lines, [
    { message: 'link lost', details: { reason: 'refused 0' } },
    { message: 'another', details: { reason: 'broken' } },
  ])
  const until = performance.now() + 110
  while (performance.now() < until) await new Promise((resolve) => setImmediate(resolve))
  incidents.warn('link lost', new Error('refused again'))
  t.strictSame(log.lines.at(-1), { message: 'link lost', details: { reason: 'refused again', repeats: 4 } })
})
