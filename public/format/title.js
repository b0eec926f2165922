/** The displayed title of a task, and text in which nothing can be seen. Pure. */
import { list as text } from '../text/en.js'

/** White space, control characters and fillers. */
const INVISIBLE = /^[\p{White_Space}\p{C}\p{M}\u115F\u1160\u2800\u3164\uFFA0]*$/u

/** Whether a text has no visible characters. */
export function isBlank(text) {
  return INVISIBLE.test(text)
}

/** Its title, or replacement text for a title without visible characters. */
export function describeTitle({ title, type }) {
  return isBlank(title) ? text.blankTitle(type) : title
}
