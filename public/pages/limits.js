/** Limits and pauses: what needs attention, what is paused, and what limits tasks. Read again while the page is visible. */
import { findHolds } from '../format/holds.js'
import { createAttention } from '../parts/attention.js'
import { h } from '../parts/dom.js'
import { createKnownNames } from '../parts/known-names.js'
import { createLimitForm } from '../parts/limit-form.js'
import { createLimitList } from '../parts/limit-list.js'
import { createPauseForm } from '../parts/pause-form.js'
import { createPauseList } from '../parts/pause-list.js'
import { createPressHold } from '../parts/press-hold.js'
import { createReadNotice } from '../parts/read-notice.js'
import { createSequenceList } from '../parts/sequence-list.js'
import { getJson, serverNow } from '../server/api.js'
import { poll } from '../server/poll.js'
import { limits as text } from '../text/en.js'

export const name = 'limits'
const PERIOD_MS = 2_000
const PARTS = ['limits', 'pauses', 'sequences']

export function open(frame) {
  frame.setTitle(text.title)
  const notice = createReadNotice(text)
  const names = createKnownNames()
  const attention = createAttention(frame.announce)
  const pauses = createPauseList(createPauseForm(names, { onDone }), { onDone })
  const sequences = createSequenceList({ onDone })
  const limits = createLimitList(createLimitForm(names, { isTaken, onDone }), { onDone })
  const parts = [attention, pauses, sequences, limits].map(({ element }) => element)
  const content = h('div', { hidden: true }, parts, names.element)
  const element = h(
    'article',
    { class: 'card sheet', 'aria-label': text.heading },
    h('h1', { tabindex: -1 }, text.heading),
    notice.element,
    content,
  )
  const hold = createPressHold(element)
  let shown = { limits: [], pauses: [], sequences: [] }

  const show = (answer) => {
    shown = answer
    attention.update(findHolds({ ...answer, now: serverNow() }))
    pauses.update(answer.pauses)
    sequences.update(answer.sequences)
    limits.update(answer.limits.filter(holdsSomething))
    content.hidden = false
  }
  const reading = poll(readAll, {
    everyMs: PERIOD_MS,
    onRead(answer) {
      notice.clear()
      hold(() => show(answer))
    },
    onFailure: notice.take,
  })
  /** Reads again, because the last answer was made before. */
  function onDone(words) {
    frame.announce(words)
    reading.readNow()
  }
  function isTaken(name) {
    return shown.limits.some((limit) => limit.name === name)
  }
  const ends = [notice.stop, reading.stop]
  return { element, close: () => ends.forEach((end) => end()) }
}

/** The limit after a pause is set together with the pause. It is hidden until the pause ends. */
const holdsSomething = ({ source, concurrency }) => source !== 'resume' || concurrency > 0

/** The items of each part. */
async function readAll(signal) {
  const answers = await Promise.all(PARTS.map((part) => getJson(`/api/${part}`, { signal })))
  return Object.fromEntries(PARTS.map((part, index) => [part, answers[index].items]))
}
