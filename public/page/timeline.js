/**
 * The history of one task: the stored transitions and edits, completed by those that arrive on its stream. Both are kept by
 * version, so each is shown once. While versions are missing, the stored ones are read again.
 */
import { getJson } from './api.js'
import { createStatus, h } from './dom.js'
import { describeDuration, describeInstant, describeTimeOfDay } from './words.js'

const RETRY_MS = 1_000

/** Starts an empty timeline for a task; `onChange` is called when it has grown. */
export function startTimeline(id, { onChange }) {
  const element = h('ol', { class: 'timeline' })
  const transitions = new Map()
  let version = 0
  let isReading = false
  let isStopped = false
  let timer

  const render = () => {
    const sorted = [...transitions.values()].sort((a, b) => a.version - b.version)
    element.replaceChildren(...sorted.map((transition, index) => createEntry(transition, sorted[index - 1])))
    onChange()
  }
  const isComplete = () => transitions.size >= version
  const readStored = async () => {
    if (isReading || isStopped || isComplete()) return
    isReading = true
    try {
      const { items } = await getJson(`/api/tasks/${encodeURIComponent(id)}/events`)
      for (const transition of items) transitions.set(transition.version, transition)
      if (!isStopped) render()
    } catch {
      // The connection's standing says that the server is away; this reads again when it is back.
    }
    isReading = false
    if (!isStopped && !isComplete()) timer = setTimeout(readStored, RETRY_MS)
  }

  return {
    element,
    /** When the present status began; undefined while that is not known. */
    sinceAt() {
      let since = version
      while (transitions.get(since)?.edited) since -= 1 // an edit keeps the status
      return transitions.get(since)?.at
    },
    /** Takes a message that changed the task. */
    take(task, message) {
      if (message.reset) transitions.clear()
      version = task.version
      if (message.type === 'transition') {
        transitions.set(version, message)
        render()
      }
      clearTimeout(timer)
      readStored()
    },
    stop() {
      isStopped = true
      clearTimeout(timer)
    },
  }
}

function createEntry({ version, status, attempt, at, reason }, before) {
  const waitedMs = before && Date.parse(at) - Date.parse(before.at)
  const details = [attempt > 0 && `attempt ${attempt}`, reason].filter(Boolean).join(' · ')
  return h(
    'li',
    { 'data-version': version, 'data-status': status },
    createStatus(status).element,
    h('time', { datetime: at, title: describeInstant(at) }, describeTimeOfDay(at)),
    h('span', { class: 'delta' }, before ? `+${describeDuration(waitedMs)}` : 'created'),
    details ? h('p', { class: 'reason' }, details) : null,
  )
}
