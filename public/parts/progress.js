/** The progress of a task: a bar, the message, how much is done, and how much is left. */
import { describeSeconds } from '../format/times.js'
import { task as text } from '../text/en.js'
import { createBar } from './bar.js'
import { h, setText } from './dom.js'

/** @returns `{ element, update(task) }` */
export function createProgress() {
  const bar = createBar(text.progress)
  const message = h('span', {})
  const count = h('span', { class: 'count' })
  const data = h('p', { class: 'progress-data' })
  const update = ({ status, progress }) => {
    const isRunning = status === 'PROCESSING' || status === 'CANCELLING'
    const fraction = status === 'COMPLETED' ? 1 : progress ? progress.fraction : isRunning ? null : undefined
    bar.update(isRunning ? fraction : (fraction ?? undefined), { status, text: progress?.message })
    setText(message, progress?.message ?? (isRunning ? text.noProgress : ''))
    setText(count, describeCount(fraction, progress, status))
    setText(data, describeData(progress?.data))
  }
  return {
    element: h('div', { class: 'progress' }, bar.element, h('p', { class: 'progress-text' }, message, count), data),
    update,
  }
}

/** The remaining time is shown only for a task that is running. */
function describeCount(fraction, progress, status) {
  const percent = typeof fraction === 'number' ? text.percent(Math.round(fraction * 100)) : ''
  const isCounted = typeof progress?.done === 'number' && progress.message === null
  const count = isCounted ? text.count(progress.done, progress.total) : ''
  const left =
    status === 'PROCESSING' && progress?.remainingMs > 1_000 && fraction !== 1
      ? text.left(describeSeconds(progress.remainingMs))
      : ''
  return [count, percent, left].filter(Boolean).join(' · ')
}

/** The handler's progress data: `rows 1200 · stage upload`. */
function describeData(data) {
  if (data === null || typeof data !== 'object') return data === undefined ? '' : String(data)
  return Object.entries(data)
    .map(([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' · ')
}
