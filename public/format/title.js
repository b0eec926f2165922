/** How a task is called. Pure. */
import { list as text } from '../text/en.js'

/** White space, controls and fillers. */
const INVISIBLE = /^[\p{White_Space}\p{C}\p{M}\u115F\u1160\u2800\u3164\uFFA0]*$/u

/** Its title, or words for one in which nothing can be seen. */
export function describeTitle({ title, type }) {
  return INVISIBLE.test(title) ? text.blankTitle(type) : title
}
