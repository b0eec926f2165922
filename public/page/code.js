/** Code and JSON to look at and to copy. */
import { createCopyButton, h } from './dom.js'

export function createJson(title, value) {
  const text = JSON.stringify(value, null, 2)
  const copy = createCopyButton(() => text, `Copy the ${title.toLowerCase()}`)
  return h('section', {}, createHeading(h('h2', {}, title), copy), createCode(text, title))
}

export function createSnippet({ title, hint, code }) {
  const name = h('h3', {}, title, ' ', h('span', { class: 'hint' }, hint))
  const copy = createCopyButton(() => code, `Copy: ${title}`)
  return h('div', { class: 'snippet' }, createHeading(name, copy), createCode(code, title))
}

function createHeading(name, action) {
  return h('div', { class: 'heading' }, name, action)
}

/** Long lines scroll, so the keyboard must reach it. */
function createCode(text, label) {
  return h('pre', { class: 'code-block', tabindex: 0, role: 'region', 'aria-label': label }, h('code', {}, text))
}

/** A part with a heading of its own. */
export function createSection(title, children) {
  return h('section', {}, createHeading(h('h2', {}, title)), children)
}
