/** Copies text, even where the browser gives the page no clipboard. */
import { copy as text } from '../text/en.js'
import { h, setText } from './dom.js'

/** A button that copies what `getText` returns, and confirms it. */
export function createCopyButton(getText, label) {
  const button = h('button', { type: 'button', class: 'copy', 'aria-label': label }, text.press)
  let timer
  button.addEventListener('click', async () => {
    const isCopied = await copy(getText())
    setText(button, isCopied ? text.done : text.byHand)
    button.dataset.done = isCopied
    clearTimeout(timer)
    timer = setTimeout(() => {
      setText(button, text.press)
      delete button.dataset.done
    }, 1600)
  })
  return button
}

async function copy(value) {
  try {
    await navigator.clipboard.writeText(value)
    return true
  } catch {
    return copyFromSelection(value) // a page on plain HTTP has no clipboard
  }
}

function copyFromSelection(value) {
  const focused = document.activeElement
  const area = h('textarea', { class: 'unseen', readonly: true })
  area.value = value
  document.body.append(area)
  area.select()
  const isCopied = document.execCommand('copy')
  area.remove()
  focused?.focus()
  return isCopied
}
