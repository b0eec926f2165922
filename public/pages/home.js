/** The list of tasks and, if there is room, the form next to it. */
import { open as openForm } from './new.js'

export const name = 'home'

export function open(frame) {
  const { element } = openForm(frame, {})
  return { element }
}
