/** A section of entries, with a heading and optionally a form that adds one. A long list is shown in parts. */
import { entries as text } from '../text/en.js'
import { h, setText } from './dom.js'
import { createKeyedList } from './keyed-list.js'

/** How many entries are shown at first, and how many more with each press. */
const PART = 20

/**
 * @param options `heading`; `keyOf` and `create` of an entry; optionally `none`, the words for an empty list, without
 *   which the section is hidden, and `form`, with its button
 * @returns `{ element, update(items) }`
 */
export function createEntryList({ heading, none, form, keyOf, create }) {
  const title = h('h2', { tabindex: -1 }, heading)
  const list = h('ul', { class: 'entries' })
  const empty = h('p', { class: 'entry-note', hidden: true }, none)
  const rest = createRest(heading, showMore)
  const element = h(
    'section',
    {},
    h('div', { class: 'heading' }, title, form?.button),
    form?.element,
    empty,
    list,
    rest.element,
  )
  const entries = createKeyedList(list, {
    keyOf,
    create,
    onRemove: (entry) => entry.contains(document.activeElement) && title.focus(),
  })
  let items = []
  let most = PART

  function update(next) {
    items = next
    entries.update(items.slice(0, most))
    rest.update(Math.min(items.length, most), items.length)
    empty.hidden = none === undefined || items.length > 0
    element.hidden = none === undefined && items.length === 0
  }

  function showMore() {
    const next = list.children.length
    most += PART
    update(items)
    // The button stays where it is, unless there is nothing more to show.
    if (rest.element.hidden) (list.children[next]?.querySelector('button, a') ?? title).focus()
  }

  return { element, update }
}

/** How many entries are shown, and the button that shows more. */
function createRest(heading, onPress) {
  const words = h('span', {})
  const button = h('button', { type: 'button', class: 'button', 'aria-label': text.moreOf(heading) }, text.more)
  button.addEventListener('click', onPress)
  const element = h('p', { class: 'entry-note entry-rest', hidden: true }, words, ' ', button)
  return {
    element,
    update(shown, count) {
      element.hidden = shown === count
      setText(words, text.shown(shown, count))
    },
  }
}
