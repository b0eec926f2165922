/** The form that creates a task, at `/new/<type>` for a type. What was typed stays while other pages are shown. */
import { startCreateForm } from '../parts/create-form.js'

export const name = 'new'
let form

export function open(frame, { type }) {
  form ??= startCreateForm({
    onReady() {
      // The page was chosen before there was a form.
      if (document.activeElement === frame.main && frame.main.contains(form.element)) form.firstField()?.focus({ preventScroll: true })
    },
    onCreated: ({ id }) => frame.navigate(`/tasks/${id}`),
  })
  if (type !== undefined) form.select(type)
  return { element: form.element, focus: form.firstField }
}
