/**
 * The history of one task: the stored transitions and edits, completed by those from its stream. Both are indexed by
 * version, so each is shown once. While versions are missing, the stored ones are read again.
 */
import { describeDuration, describeInstant, describeTimeOfDay } from '../format/times.js'
import { readUntilDone } from '../server/api.js'
import { task as text } from '../text/en.js'
import { h, setText } from './dom.js'
import { createStatus } from './status.js'

const RETRY_MS = 1_000

/** Starts an empty timeline for a task; `onChange` is called when it has grown. */
export function startTimeline(id, { onChange }) {
  const element = h('ol', { class: 'timeline' })
  const transitions = new Map()
  const entries = new Map()
  let version = 0
  let stopReading
  let isStopped = false
  let timer

  /** Only new entries are created: the existing ones may contain a selection. */
  const render = () => {
    const sorted = [...transitions.values()].sort((a, b) => a.version - b.version)
    for (const [known, entry] of entries) if (!transitions.has(known)) entries.delete(known) && entry.element.remove()
    sorted.forEach((transition, index) => {
      const entry = entries.get(transition.version) ?? createEntry(transition)
      entries.set(transition.version, entry)
      entry.follow(sorted[index - 1])
      if (element.children[index] !== entry.element)
        element.insertBefore(entry.element, element.children[index] ?? null)
    })
    onChange()
  }
  const isComplete = () => transitions.size >= version
  /** The connection state shows that the server is away; this reads again when it is back. */
  const readStored = () => {
    if (stopReading || isStopped || isComplete()) return
    stopReading = readUntilDone(`/api/tasks/${encodeURIComponent(id)}/events`, {
      onRead({ items }) {
        stopReading = undefined
        for (const transition of items) transitions.set(transition.version, transition)
        render()
        if (!isComplete()) timer = setTimeout(readStored, RETRY_MS)
      },
    })
  }

  return {
    element,
    /** When the current status began; undefined while that is unknown. */
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
      stopReading?.()
    },
  }
}

function createEntry({ version, status, attempt, at, reason }) {
  const details = [attempt > 0 && text.attempt(attempt), reason].filter(Boolean).join(' · ')
  const delta = h('span', { class: 'delta' })
  const element = h(
    'li',
    { 'data-version': version, 'data-status': status },
    createStatus(status).element,
    h('time', { datetime: at, title: describeInstant(at) }, describeTimeOfDay(at)),
    delta,
    details ? h('p', { class: 'reason' }, details) : null,
  )
  return {
    element,
    follow: (before) =>
      setText(delta, before ? text.after(describeDuration(Date.parse(at) - Date.parse(before.at))) : text.created),
  }
}
