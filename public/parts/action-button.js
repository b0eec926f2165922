/** A button that sends something. With a question, the first press asks and the second one sends. */
import { h, setAttribute, setText } from './dom.js'
import { createTrouble } from './trouble.js'

const QUESTION_MS = 4_000

/**
 * Its texts: `press`, `sending`, and the optional `question`; `label` and `questionLabel` name what it acts on, for
 * screen readers. `send` does it, and may throw.
 * @returns `{ button, trouble }`; `trouble` says why it failed
 */
export function createActionButton({ press, question, sending, label, questionLabel }, send) {
  const trouble = createTrouble()
  const button = h('button', { type: 'button', class: 'button', click: onPress })
  let isAsking = false
  let isSending = false
  let timer

  async function onPress() {
    if (isSending) return
    if (question !== undefined && !isAsking) return ask()
    trouble.clear()
    clearTimeout(timer)
    isAsking = false
    isSending = true
    // It is not disabled, because a disabled button would lose the focus.
    button.setAttribute('aria-disabled', 'true')
    show(sending)
    try {
      await send()
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
    show(question, questionLabel)
    timer = setTimeout(rest, QUESTION_MS)
  }

  function rest() {
    isAsking = false
    clearTimeout(timer)
    show(press, label)
  }

  function show(words, name) {
    setText(button, words)
    setAttribute(button, 'aria-label', name)
  }

  rest()
  return { button, trouble }
}
