/** A form that a button opens below itself, and that sends a request. Errors are shown at their fields. */
import { isPassing, ProblemError } from '../client/requests.js'
import { h, setAttribute, setText } from './dom.js'
import { showProblem } from './place.js'
import { describeFailure, whenOver } from './trouble.js'

let idCount = 0

/**
 * @param text `open`, `submit`, `sending`, `leave`, and the optional `label` of the button that opens it
 * @param form `fields`, its elements; `places`, where their errors are shown; `read(violations)`, which returns what to
 *   send; `send(value)`, which may throw; `onOpen()`
 * @returns `{ button, element }`
 */
export function createEntryForm(text, { fields, places, read, send, onOpen = () => {} }) {
  const alert = h('div', { class: 'alert', role: 'alert', hidden: true })
  const submit = h('button', { type: 'submit', class: 'button primary' }, text.submit)
  const id = `entry-form-${++idCount}`
  const element = h(
    'form',
    { id, class: 'entry-form', novalidate: true, autocomplete: 'off', hidden: true, submit: onSubmit, keydown: onKey },
    h('div', { class: 'entry-fields' }, fields),
    alert,
    h(
      'div',
      { class: 'actions' },
      submit,
      h('button', { type: 'button', class: 'button quiet', click: leave }, text.leave),
    ),
  )
  const button = h(
    'button',
    { type: 'button', class: 'button', 'aria-controls': id, 'aria-expanded': 'false', 'aria-label': text.label },
    text.open,
  )
  button.addEventListener('click', () => (element.hidden ? open() : leave()))
  let forgetTrouble = () => {}
  let isSending = false

  function open() {
    onOpen()
    show(true)
    element.querySelector('input, select').focus()
  }

  function leave() {
    if (isSending) return
    show(false)
    button.focus()
  }

  function show(isOpen) {
    clear()
    element.hidden = !isOpen
    setAttribute(button, 'aria-expanded', String(isOpen))
  }

  function clear() {
    forgetTrouble()
    alert.hidden = true
    for (const place of places.values()) place.showErrors([])
  }

  function onKey(event) {
    if (event.key === 'Escape') leave()
  }

  async function onSubmit(event) {
    event.preventDefault()
    if (isSending) return
    clear()
    const errors = []
    const value = read(errors)
    if (errors.length > 0) return showProblem({ errors }, { alert, places })
    markSending(true)
    let failure
    try {
      await send(value)
    } catch (error) {
      failure = error
    }
    markSending(false)
    if (failure !== undefined) return showFailure(failure)
    element.reset()
    leave()
  }

  /** It is not disabled, because a disabled button would lose the focus. */
  function markSending(now) {
    isSending = now
    setText(submit, now ? text.sending : text.submit)
    setAttribute(submit, 'aria-disabled', now ? 'true' : null)
  }

  function showFailure(error) {
    const isTold = error instanceof ProblemError && error.problem.code !== 'unexpected'
    showProblem(isTold ? error.problem : { title: describeFailure(error) }, { alert, places })
    if (isPassing(error)) forgetTrouble = whenOver(() => (alert.hidden = true))
  }

  return { button, element }
}
