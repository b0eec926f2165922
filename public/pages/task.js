/** One task, live: its status, progress, payload, result and failure, and its whole history. */
import { linkTo } from '../addresses.js'
import { describeTitle } from '../format/title.js'
import { describeWaiting, findWaiting } from '../format/waiting.js'
import { onTick } from '../parts/clock.js'
import { h } from '../parts/dom.js'
import { TaskView } from '../parts/task-view.js'
import { startTimeline } from '../parts/timeline.js'
import { onPageConnection, watchTask } from '../server/connection.js'
import { isFinal } from '../task-stream.js'
import { frame as frameText, task as text } from '../text/en.js'

export const name = 'task'
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** A task that does not exist gets a page that says so. */
export function open(frame, { id }) {
  const element = h('article', { class: 'card sheet', 'aria-label': text.label })
  const show = (...children) =>
    element.replaceChildren(h('a', { class: 'back', href: linkTo('/') }, text.back), ...children)
  if (!ID.test(id)) {
    show(...describeAbsence(id, text.malformedId))
    return { element }
  }
  show(h('p', { class: 'notice' }, text.reading))
  return { element, close: followTask(id, { show, tell: createTeller(frame) }) }
}

/** @returns a function that stops it */
function followTask(id, { show, tell }) {
  let view
  const tick = () => view?.tick()
  const timeline = startTimeline(id, { onChange: tick })
  const watch = watchTask(id, {
    onChange({ task: taskItself, message }) {
      const task = { ...taskItself, waitingFor: watch.waitingFor }
      if (!view) {
        view = new TaskView(task, timeline)
        show(...view.elements)
      }
      timeline.take(task, message)
      view.update(task)
      tell(task)
    },
    onConnection(connection) {
      if (connection.state !== 'stopped') return
      view?.stop()
      view = undefined
      show(...describeAbsence(id, connection.text))
    },
  })
  const ends = [onTick(tick), onPageConnection(tick), () => timeline.stop(), () => view?.stop(), () => watch.close()]
  return () => ends.forEach((end) => end())
}

/**
 * Every status goes into the window title and is announced to screen readers, and so is another reason to wait; progress
 * is not, nor is another position among those that wait.
 */
function createTeller(frame) {
  let statusBefore
  let codeBefore
  return (task) => {
    const { status, failure } = task
    const title = describeTitle(task)
    frame.setTitle(status, title)
    if (statusBefore !== undefined && statusBefore !== status)
      frame.announce(frameText.change(title, status, isFinal(status) && failure?.message))
    else if (codeBefore !== findWaiting(task)?.code) frame.announce(describeWaiting(task))
    statusBefore = status
    codeBefore = findWaiting(task)?.code
  }
}

function describeAbsence(id, reason) {
  return [
    h('h1', { tabindex: -1 }, reason),
    h('p', {}, text.checkAddress),
    h('p', {}, h('code', {}, id)),
    h('p', {}, text.seeList),
  ]
}
