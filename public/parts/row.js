/** A task as a row of the list. */
import { linkTo } from '../addresses.js'
import { describeDuration } from '../format/times.js'
import { describeTitle } from '../format/title.js'
import { list as text, task as taskText } from '../text/en.js'
import { createBar } from './bar.js'
import { createTime } from './clock.js'
import { h, setAttribute, setText } from './dom.js'
import { createStatus } from './status.js'

/** @returns `{ element, update(task), markGone(isGone), select(isSelected), focus(options) }` */
export function createRow(first, isSelected) {
  const title = h('span', { class: 'row-title' })
  const status = createStatus(first.status)
  const took = h('span', {})
  const bar = createBar(taskText.progress)
  const gone = h('span', { class: 'row-gone', hidden: true }, text.gone)
  const link = h(
    'a',
    { class: 'row', href: linkTo('/tasks/', first.id) },
    h('span', { class: 'row-line' }, title, status.element),
    h(
      'span',
      { class: 'row-meta' },
      h('span', { class: 'row-type' }, first.type),
      createTime(first.createdAt),
      took,
      gone,
    ),
    bar.element,
  )
  let shown
  const update = (task) => {
    if (task === shown) return
    shown = task
    setText(title, describeTitle(task))
    setAttribute(title, 'title', describeTitle(task))
    status.update(task.status)
    setText(took, describeRun(task))
    const isRunning = task.status === 'PROCESSING'
    bar.element.hidden = !isRunning
    if (isRunning) bar.update(task.progress?.fraction ?? null, { status: task.status, text: task.progress?.message })
  }
  const markGone = (isGone) => {
    gone.hidden = !isGone
    setAttribute(link, 'data-gone', isGone)
  }
  const select = (isSelected) => setAttribute(link, 'aria-current', isSelected ? 'page' : null)
  update(first)
  select(isSelected)
  return { element: h('li', {}, link), update, markGone, select, focus: (options) => link.focus(options) }
}

function describeRun({ startedAt, finishedAt }) {
  return startedAt && finishedAt ? text.took(describeDuration(Date.parse(finishedAt) - Date.parse(startedAt))) : ''
}
