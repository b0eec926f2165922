/** The list of task types. */
import { linkTo } from '../addresses.js'
import { h } from '../parts/dom.js'
import { openTypesSheet } from '../parts/types-sheet.js'
import { types as text } from '../text/en.js'

export const name = 'types'

export function open(frame) {
  frame.setTitle(text.title)
  return openTypesSheet(describeAll)
}

function describeAll(types) {
  const items = types.map(({ type, title, description }) =>
    h(
      'li',
      {},
      h('h2', {}, h('a', { href: linkTo('/types/', type) }, title)),
      h('p', { class: 'id' }, h('code', {}, type)),
      h('p', {}, description),
    ),
  )
  return [h('h1', { tabindex: -1 }, text.heading), h('ul', { class: 'types' }, items)]
}
