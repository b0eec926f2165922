/** Says that a page is being loaded, or why what it shows is old, and how old. */
import { ProblemError } from '../client/requests.js'
import { describeRoughly } from '../format/times.js'
import { onTick } from './clock.js'
import { h, setAttribute, setText } from './dom.js'
import { describeFailure } from './trouble.js'

/** A single read that fails is not worth a notice; this age is. */
const STALE_MS = 5_000

/**
 * @param text the texts `reading`, `notRead(reason)`, `notListed` and `lastUpdate(age)`
 * @returns `{ element, clear(), take(error), stop() }`: `clear` after each answer, `take` after each failure
 */
export function createReadNotice(text) {
  const reason = h('span', { role: 'alert' })
  const age = h('span', {}, text.reading)
  const element = h('p', { class: 'notice' }, reason, ' ', age)
  let readAt
  let failure
  const tick = () => {
    const ageMs = readAt === undefined ? Infinity : Date.now() - readAt
    if (failure === undefined || ageMs < STALE_MS) return
    setText(reason, describeReadFailure(failure, text))
    setText(age, readAt === undefined ? '' : text.lastUpdate(describeRoughly(ageMs)))
    setAttribute(element, 'data-stale', true)
    element.hidden = false
  }
  return {
    element,
    stop: onTick(tick),
    clear() {
      readAt = Date.now()
      failure = undefined
      element.hidden = true
      setText(reason, '')
    },
    take(error) {
      failure = error
      tick()
    },
  }
}

/** A server of an earlier version has nothing at this address. */
function describeReadFailure(error, text) {
  if (error instanceof ProblemError && error.problem.code === 'not_found') return text.notListed
  return text.notRead(describeFailure(error))
}
