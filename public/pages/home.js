/** The list of tasks, and beside it, where there is room, the form. */
import { open as openForm } from './new.js'

export const name = 'home'

export function open(frame) {
  const { element } = openForm(frame, {})
  return { element }
}
