import t from 'tap'
import { isRefusedData, isRefusedForGood, isRefusedStatement } from '../../src/db/refused-data.js'

const withCode = (code: string) => Object.assign(new Error('failed'), { code })

t.test('refused data is distinguished from a database that could not answer', (t) => {
  const judge = (error: unknown) => [isRefusedData(error), isRefusedForGood(error), isRefusedStatement(error)]
  t.same(judge(withCode('22P02')), [true, true, true], 'data')
  t.same(judge(withCode('54000')), [true, true, true], 'a key too long for its index')
  t.same(judge(withCode('23505')), [false, true, true], 'a constraint')
  t.same(judge(withCode('40P01')), [false, false, true], 'a deadlock')
  t.same(judge(withCode('57P01')), [false, false, false], 'the server stops')
  t.same(judge(withCode('ECONNRESET')), [false, false, false], 'the connection is lost')
  t.same(judge('22P02'), [false, false, false], 'no error at all')
  t.same(
    judge(new Error('failed', { cause: withCode('22P02') })),
    [true, true, true],
    'the error behind one of drizzle',
  )
  t.end()
})
