/** Code and JSON to view and to copy. Each can be updated in place, which leaves equal content untouched. */
import { copy as copyText } from '../text/en.js'
import { createCopyButton } from './copy-button.js'
import { h, setText } from './dom.js'

/** @returns `{ element, update(value) }` */
export function createJson(title, value) {
  const code = createCode(title)
  const copy = createCopyButton(code.text, copyText.the(title))
  const update = (changed) => code.update(JSON.stringify(changed, null, 2))
  update(value)
  return { element: h('section', {}, createHeading(h('h2', {}, title), copy), code.element), update }
}

export function createSnippet(snippet) {
  return createChangingSnippet(snippet).element
}

/** @returns `{ element, update(snippet) }` */
export function createChangingSnippet({ title, hint, code: text }) {
  const name = h('h3', {}, title, ' ', h('span', { class: 'hint' }, hint))
  const code = createCode(title)
  const copy = createCopyButton(code.text, copyText.what(title))
  code.update(text)
  return {
    element: h('div', { class: 'snippet' }, createHeading(name, copy), code.element),
    update: (changed) => code.update(changed.code),
  }
}

function createHeading(name, action) {
  return h('div', { class: 'heading' }, name, action)
}

/** Long lines scroll, so the keyboard must be able to focus it. */
function createCode(label) {
  const inner = h('code', {})
  const element = h('pre', { class: 'code-block', tabindex: 0, role: 'region', 'aria-label': label }, inner)
  return { element, text: () => inner.textContent, update: (text) => setText(inner, text) }
}

/** A part with its own heading. */
export function createSection(title, children) {
  return h('section', {}, createHeading(h('h2', {}, title)), children)
}
