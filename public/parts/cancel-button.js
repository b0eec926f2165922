/** The button that cancels a task: the first click asks, the second one cancels. */
import { isFinal } from '../task-stream.js'
import { postJson } from '../server/api.js'
import { cancel as text } from '../text/en.js'
import { createActionButton } from './action-button.js'
import { h } from './dom.js'

export function createCancelButton(id) {
  const { button, trouble } = createActionButton(text, () => postJson(`/api/tasks/${encodeURIComponent(id)}/cancel`))
  return {
    element: h('p', { class: 'actions' }, button, trouble.element),
    update({ status }) {
      button.hidden = isFinal(status) || status === 'CANCELLING'
      if (button.hidden) trouble.clear() // the task was cancelled, or has ended
    },
  }
}
