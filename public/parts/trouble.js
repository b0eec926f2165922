/**
 * A message next to an action that says why it failed, shown until the action is tried again or the problem is over.
 */
import { ConnectionError, isPassing, ProblemError } from '../client/requests.js'
import { whenReachable } from '../server/api.js'
import { trouble as text } from '../text/en.js'
import { h, setText } from './dom.js'
import { sentence } from '../format/schema.js'

/** Long enough to be read. */
const MIN_SHOWN_MS = 4_000

export function createTrouble() {
  const element = h('span', { class: 'trouble', role: 'alert' })
  let forget = () => {}
  const clear = () => {
    forget()
    setText(element, '')
  }
  return {
    element,
    clear,
    show(error) {
      clear()
      setText(element, describeFailure(error))
      if (isPassing(error)) forget = whenOver(clear)
    },
  }
}

/**
 * Calls `listener` once the server answers again, but not before the message could be read.
 * @returns a function that cancels it
 */
export function whenOver(listener) {
  const shownAt = performance.now()
  let timer
  const forget = whenReachable(() => {
    timer = setTimeout(listener, MIN_SHOWN_MS - (performance.now() - shownAt))
  })
  return () => {
    forget()
    clearTimeout(timer)
  }
}

/** What happened, then what to do. */
export function describeFailure(error) {
  if (error instanceof ProblemError) return [sentence(error.message), error.problem.fix].filter(Boolean).join(' ')
  if (error instanceof ConnectionError)
    return `${sentence(error.message)} ${error.code === 'offline' ? text.offline : text.passing}`
  return text.fault(sentence(error.message))
}
