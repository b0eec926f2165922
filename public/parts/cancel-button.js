/** The button that cancels a task: the first click asks, the second one cancels. */
import { isFinal } from '../task-stream.js'
import { postJson } from '../server/api.js'
import { cancel as text } from '../text/en.js'
import { h, setText } from './dom.js'
import { createTrouble } from './trouble.js'

const QUESTION_MS = 4_000

export function createCancelButton(id) {
  const trouble = createTrouble()
  const button = h('button', { type: 'button', class: 'button', click: press }, text.press)
  let isAsking = false
  let isSending = false
  let timer

  async function press() {
    if (isSending) return
    if (!isAsking) return ask()
    trouble.clear()
    clearTimeout(timer)
    isAsking = false
    isSending = true
    // It is not disabled, because a disabled button would lose the focus.
    button.setAttribute('aria-disabled', 'true')
    setText(button, text.sending)
    try {
      await postJson(`/api/tasks/${encodeURIComponent(id)}/cancel`)
    } catch (error) {
      if (!button.hidden) trouble.show(error)
    } finally {
      isSending = false
      button.removeAttribute('aria-disabled')
      rest()
    }
  }

  function ask() {
    isAsking = true
    setText(button, text.question)
    timer = setTimeout(rest, QUESTION_MS)
  }

  function rest() {
    isAsking = false
    clearTimeout(timer)
    setText(button, text.press)
  }

  return {
    element: h('p', { class: 'actions' }, button, trouble.element),
    update({ status }) {
      button.hidden = isFinal(status) || status === 'CANCELLING'
      if (button.hidden) trouble.clear() // the task was cancelled, or has ended
    },
  }
}
