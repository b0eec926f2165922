/** What needs attention, before everything else; nothing if all is well. */
import { describeNews } from '../format/attention.js'
import { workers as text } from '../text/en.js'
import { h, setText } from './dom.js'
import { createKeyedList } from './keyed-list.js'

/**
 * @param announce called with what is new, for screen readers; not with what was there at the last update
 * @returns `{ element, update(notes) }`; a note is `{ key, what, fix }`, see `format/attention.js`
 */
export function createAttention(announce) {
  const list = h('ul', {})
  const element = h('section', { class: 'attention', hidden: true }, h('h2', {}, text.attention), list)
  const notes = createKeyedList(list, { keyOf: ({ key }) => key, create: createNote })
  let shown = []
  return {
    element,
    update(found) {
      const news = describeNews(shown, found)
      if (news !== undefined) announce(news)
      shown = found
      notes.update(found)
      element.hidden = found.length === 0
    },
  }
}

function createNote() {
  const what = h('strong', {})
  const fix = h('span', {})
  return {
    element: h('li', {}, what, ' ', fix),
    update(note) {
      setText(what, note.what)
      const words = note.fix.map((part) => part.code ?? part).join('')
      if (fix.textContent === words) return
      fix.replaceChildren(...note.fix.map((part) => (part.code ? h('code', {}, part.code) : part)))
    },
  }
}
