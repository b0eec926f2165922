/**
 * Limits and pauses: what needs attention, what is paused, what limits tasks, which weights change shares, and which
 * sequences are halted. Read again while the page is visible.
 */
import { findHolds } from '../format/holds.js'
import { createAttention } from '../parts/attention.js'
import { createKnownNames } from '../parts/known-names.js'
import { createLimitForm } from '../parts/limit-form.js'
import { createLimitList } from '../parts/limit-list.js'
import { createPauseForm } from '../parts/pause-form.js'
import { createPauseList } from '../parts/pause-list.js'
import { createPolledSheet } from '../parts/polled-sheet.js'
import { createSequenceList } from '../parts/sequence-list.js'
import { createWeightForm } from '../parts/weight-form.js'
import { createWeightList } from '../parts/weight-list.js'
import { getJson, serverNow } from '../server/api.js'
import { limits as text } from '../text/en.js'

export const name = 'limits'
const PARTS = ['limits', 'pauses', 'sequences', 'weights']

export function open(frame) {
  frame.setTitle(text.title)
  const names = createKnownNames()
  const attention = createAttention(frame.announce)
  const pauses = createPauseList(createPauseForm(names, { onDone }), { onDone })
  const sequences = createSequenceList({ onDone })
  const limits = createLimitList(createLimitForm(names, { isTaken, onDone }), { onDone })
  const weights = createWeightList(createWeightForm({ onDone }), { onDone })
  let known = []
  const { element, readNow, close } = createPolledSheet({
    text,
    content: [...[attention, pauses, limits, weights, sequences].map(({ element }) => element), names.element],
    read: readAll,
    show(answer) {
      known = answer.limits
      attention.update(findHolds({ ...answer, now: serverNow() }))
      pauses.update(answer.pauses)
      limits.update(known.filter(holdsSomething))
      weights.update(answer.weights)
      sequences.update(answer.sequences)
    },
  })
  /** Reads again, because the last answer was made before. */
  function onDone(words) {
    frame.announce(words)
    readNow()
  }
  function isTaken(name) {
    return known.some((limit) => limit.name === name)
  }
  return { element, close }
}

/** The limit after a pause is set together with the pause. It is hidden until the pause ends. */
const holdsSomething = ({ source, concurrency }) => source !== 'resume' || concurrency > 0

/** The items of each part. */
async function readAll(signal) {
  const answers = await Promise.all(PARTS.map((part) => getJson(`/api/${part}`, { signal })))
  return Object.fromEntries(PARTS.map((part, index) => [part, answers[index].items]))
}
