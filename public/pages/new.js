/** The form that creates a task; at `/new/<type>` for that type. It keeps its contents while other pages are shown. */
import { startCreateForm } from '../parts/create-form.js'

export const name = 'new'
let form

export function open(frame, { type }) {
  form ??= startCreateForm({
    onReady() {
      // The page was opened before the form existed.
      if (document.activeElement === frame.main && frame.main.contains(form.element))
        form.firstField()?.focus({ preventScroll: true })
    },
    onCreated: ({ id }) => frame.navigate(`/tasks/${id}`),
  })
  if (type !== undefined) form.select(type)
  return { element: form.element, focus: form.firstField }
}
