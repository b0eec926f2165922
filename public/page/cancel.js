/** The button that cancels a task: the first press asks, the second does it. */
import { isFinal } from '../task-stream.js'
import { postJson } from './api.js'
import { h, setText } from './dom.js'

const QUESTION_MS = 4_000

export function createCancelButton(id) {
  const said = h('span', { class: 'hint', role: 'status' })
  const button = h('button', { type: 'button', class: 'button', click: press }, 'Cancel')
  let isAsking = false
  let timer

  async function press() {
    if (!isAsking) return ask()
    rest()
    button.disabled = true
    try {
      await postJson(`/api/tasks/${id}/cancel`)
      setText(said, '')
    } catch (error) {
      setText(said, error.message)
    } finally {
      button.disabled = false
    }
  }

  function ask() {
    isAsking = true
    setText(button, 'Really cancel?')
    timer = setTimeout(rest, QUESTION_MS)
  }

  function rest() {
    isAsking = false
    clearTimeout(timer)
    setText(button, 'Cancel')
  }

  return {
    element: h('p', { class: 'actions' }, button, said),
    update({ status }) {
      button.hidden = isFinal(status) || status === 'CANCELLING'
    },
  }
}
