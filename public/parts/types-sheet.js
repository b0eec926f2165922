/** Shows the current answer of `/api/types`, and a loading text until it arrives. */
import { readUntilDone } from '../server/api.js'
import { types as text } from '../text/en.js'
import { h } from './dom.js'
import { describeFailure } from './trouble.js'

/** @returns `{ element, close }`, as pages do */
export function openTypesSheet(describe) {
  const element = h(
    'article',
    { class: 'card sheet', 'aria-label': text.heading },
    h('p', { class: 'notice' }, text.reading),
  )
  const close = readUntilDone('/api/types', {
    onRead: ({ items }) => element.replaceChildren(...describe(items)),
    onFailure: (error) =>
      element.replaceChildren(h('p', { class: 'notice', role: 'alert' }, text.notRead(describeFailure(error)))),
  })
  return { element, close }
}
