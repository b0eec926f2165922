/**
 * Drains and resumes a worker. "Drain" opens a form for the reason, which sends it; "Resume" sends at once. They are two
 * buttons, so that a press that began on the one never reaches the other.
 */
import { ProblemError } from '../client/requests.js'
import { postJson } from '../server/api.js'
import { drain as text } from '../text/en.js'
import { h, setAttribute, setText } from './dom.js'
import { createReasonInput, readReason } from './entry-fields.js'
import { createTrouble } from './trouble.js'

/** What may be asked of a worker in each state. */
const OFFERS = { running: 'drain', draining: 'resume', drained: 'resume' }
let idCount = 0

/**
 * @param onDone receives the worker as the server answered
 * @returns `{ buttons, panel, update(worker) }`; `update` returns false if the focused control has gone without a
 *   successor
 */
export function createDrainControl({ id, host, pid }, { onDone }) {
  const trouble = createTrouble()
  const form = createReasonForm({ onSubmit: () => send('drain'), onLeave: () => open(false) })
  const drain = createAction(text.drain, text.drainWorker(host, pid), () => open(form.element.hidden))
  const resume = createAction(text.resume, text.resumeWorker(host, pid), () => send('resume'))
  const panel = h('div', { class: 'worker-panel' }, form.element, h('p', {}, trouble.element))
  setAttribute(drain.element, 'aria-controls', form.element.id)
  let offer
  let isSending = false

  function open(isOpen) {
    if (isSending) return
    show(isOpen)
    if (isOpen) form.focus()
    else drain.element.focus()
  }

  function show(isOpen) {
    form.element.hidden = !isOpen
    setAttribute(drain.element, 'aria-expanded', String(isOpen))
  }

  async function send(action) {
    if (isSending) return
    isSending = true
    trouble.clear()
    const pressed = action === 'drain' ? form : resume
    pressed.markSending(text.sending[action])
    const body = action === 'drain' ? form.read() : {}
    try {
      onDone(await postJson(`/api/workers/${encodeURIComponent(id)}/${action}`, body))
    } catch (error) {
      if (offer === action) trouble.show(explain(error))
    } finally {
      isSending = false
      pressed.markSending()
    }
  }

  function update({ state }) {
    if (OFFERS[state] === offer) return true
    offer = OFFERS[state]
    trouble.clear() // it was done, or cannot be done any more
    const hadFocus = [drain.element, resume.element, form.element].some((part) => part.contains(document.activeElement))
    drain.element.hidden = offer !== 'drain'
    resume.element.hidden = offer !== 'resume'
    show(false)
    form.clear()
    if (!hadFocus) return true
    const successor = { drain, resume }[offer]
    successor?.element.focus()
    return successor !== undefined
  }

  show(false)
  return { buttons: [drain.element, resume.element], panel, update }
}

/** It is not disabled while it sends, because a disabled button would lose the focus. */
function createAction(words, label, click) {
  const element = h('button', { type: 'button', class: 'button', 'aria-label': label, hidden: true, click }, words)
  return {
    element,
    markSending(sending) {
      setText(element, sending ?? words)
      setAttribute(element, 'aria-label', sending ? null : label)
      setAttribute(element, 'aria-disabled', sending ? 'true' : null)
    },
  }
}

function createReasonForm({ onSubmit, onLeave }) {
  const id = `drain-${++idCount}`
  const input = createReasonInput({ id, 'aria-describedby': `${id}-help` })
  const submit = h('button', { type: 'submit', class: 'button primary' }, text.submit)
  const element = h(
    'form',
    { class: 'drain-form', id: `${id}-form`, hidden: true, submit: onSubmitted, keydown: onKey },
    h(
      'div',
      { class: 'field' },
      h('label', { for: id }, text.reason),
      input,
      h('p', { class: 'help', id: `${id}-help` }, text.help),
    ),
    h(
      'div',
      { class: 'actions' },
      submit,
      h('button', { type: 'button', class: 'button quiet', click: onLeave }, text.leave),
    ),
  )
  function onSubmitted(event) {
    event.preventDefault()
    onSubmit()
  }
  function onKey(event) {
    if (event.key === 'Escape') onLeave()
  }
  return {
    element,
    read: () => readReason(input),
    focus: () => input.focus(),
    clear: () => (input.value = ''),
    markSending(sending) {
      setText(submit, sending ?? text.submit)
      setAttribute(submit, 'aria-disabled', sending ? 'true' : null)
    },
  }
}

/** A worker that has ended is no longer known to the server. */
function explain(error) {
  if (error instanceof ProblemError && error.problem.code === 'not_found')
    return new ProblemError({ ...error.problem, detail: text.hasEnded, fix: '' })
  return error
}
