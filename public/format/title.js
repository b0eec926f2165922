/** The displayed title of a task. Pure. */
import { list as text } from '../text/en.js'

/** White space, control characters and fillers. */
const INVISIBLE = /^[\p{White_Space}\p{C}\p{M}\u115F\u1160\u2800\u3164\uFFA0]*$/u

/** Its title, or replacement text for a title without visible characters. */
export function describeTitle({ title, type }) {
  return INVISIBLE.test(title) ? text.blankTitle(type) : title
}
