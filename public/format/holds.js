// @ts-check
/** Which pauses and halted sequences an operator should do something about. Pure. */
import { holds as text } from '../text/en.js'
import { describePaused, showName } from './limits.js'
import { describeRoughly } from './times.js'

/** @typedef {import('../../src/protocol/release.js').Pause} Pause */
/** @typedef {import('../../src/protocol/release.js').HaltedSequence} HaltedSequence */

const DAY_MS = 86_400_000

/**
 * The notes of `parts/attention.js`. A limit that is full is no reason for one: it does what it is for.
 * @param {{ pauses: Pause[], sequences: HaltedSequence[], now: number }} present
 */
export function findHolds({ pauses, sequences, now }) {
  return [...noteOldPauses(pauses, now), ...noteHalted(sequences)]
}

/** @param {Pause[]} pauses @param {number} now */
function noteOldPauses(pauses, now) {
  const old = pauses.filter(({ setAt }) => now - Date.parse(setAt) >= DAY_MS)
  const [first] = old
  if (first === undefined) return []
  if (old.length > 1) return [note('pauses', text.oldPauses(old.map(describePaused)), text.resumePauses)]
  const age = describeRoughly(now - Date.parse(first.setAt))
  return [note('pauses', text.oldPause(describePaused(first), age), text.resumePause)]
}

/** Without the number of tasks that wait: it would be announced with each change. @param {HaltedSequence[]} sequences */
function noteHalted(sequences) {
  const [first] = sequences
  if (first === undefined) return []
  if (sequences.length === 1) return [note('sequences', text.halted(showName(first.key)), text.resumeSequence)]
  return [note('sequences', text.haltedMany(sequences.length), text.resumeSequences)]
}

/** @param {string} key @param {string} what @param {string} fix */
const note = (key, what, fix) => ({ key, what, fix: [fix] })
