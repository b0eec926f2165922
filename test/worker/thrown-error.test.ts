import t from 'tap'
import { CancelTask, PermanentFailure, PutBack, RetryLater } from '../../src/definitions/outcome-errors.js'
import { packError, unpackError } from '../../src/worker/isolation/thrown-error.js'

t.test('an error thrown in a process of its own arrives with its class', async (t) => {
  for (const thrown of [
    new RetryLater(5, 'later'),
    new PutBack(7, 'busy'),
    new PermanentFailure('no'),
    new CancelTask('enough'),
    new TypeError('odd'),
  ]) {
    const { constructor, name, message } = thrown
    const arrived = unpackError(structuredClone(packError(thrown)))
    t.match(arrived, { name, message, ...('delayMs' in thrown && { delayMs: thrown.delayMs }) })
    if (constructor !== TypeError) t.equal(arrived.constructor, constructor)
  }
})
