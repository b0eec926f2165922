/** The head of a task: its title, status, state in words, progress and actions. */
import { describeTitle } from '../format/title.js'
import { task as text } from '../text/en.js'
import { createCancelButton } from './cancel-button.js'
import { createCopyButton } from './copy-button.js'
import { h, setText } from './dom.js'
import { createProgress } from './progress.js'
import { createStatus } from './status.js'

/**
 * @param waiting what it waits for: see `createWaiting`
 * @returns `{ elements, standing, update(task) }`; the caller updates the text of `standing`, because it changes with
 *   time
 */
export function createHead(first, waiting) {
  const title = h('h1', { tabindex: -1 })
  const status = createStatus(first.status)
  const standing = h('span', { class: 'standing' })
  const copyId = createCopyButton(() => first.id, text.copyId)
  const cancel = createCancelButton(first.id)
  const progress = createProgress()
  const update = (task) => {
    setText(title, describeTitle(task))
    status.update(task.status)
    progress.update(task)
    cancel.update(task)
  }
  const elements = [
    title,
    h('p', { class: 'id' }, h('code', {}, first.id), copyId),
    h('p', { class: 'glance' }, status.element, waiting.badge, standing),
    waiting.element,
    progress.element,
    cancel.element,
  ]
  return { elements, standing, update }
}
