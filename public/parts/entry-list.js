/** A section of entries, with a heading and optionally a form that adds one. */
import { h } from './dom.js'
import { createKeyedList } from './keyed-list.js'

/**
 * @param options `heading`; `keyOf` and `create` of an entry; optionally `none`, the words for an empty list, without
 *   which the section is hidden, and `form`, with its button
 * @returns `{ element, update(items) }`
 */
export function createEntryList({ heading, none, form, keyOf, create }) {
  const title = h('h2', { tabindex: -1 }, heading)
  const list = h('ul', { class: 'entries' })
  const empty = h('p', { class: 'entry-note', hidden: true }, none)
  const element = h('section', {}, h('div', { class: 'heading' }, title, form?.button), form?.element, empty, list)
  const entries = createKeyedList(list, {
    keyOf,
    create,
    onRemove: (entry) => entry.contains(document.activeElement) && title.focus(),
  })
  return {
    element,
    update(items) {
      entries.update(items)
      empty.hidden = none === undefined || items.length > 0
      element.hidden = none === undefined && items.length === 0
    },
  }
}
