/** A state shown by shape, word and colour. The colours are the custom properties `--tone` and `--tint`. */
import { h, setAttribute, setText } from './dom.js'

const SVG_NAMESPACE = 'http://www.w3.org/2000/svg'

/** @returns `{ element, update({ shape, word }) }`; `shape` is a path, 16 by 16 */
export function createBadge() {
  const path = document.createElementNS(SVG_NAMESPACE, 'path')
  const icon = document.createElementNS(SVG_NAMESPACE, 'svg')
  icon.setAttribute('viewBox', '0 0 16 16')
  icon.setAttribute('aria-hidden', 'true')
  icon.append(path)
  const name = h('span')
  return {
    element: h('span', { class: 'status' }, icon, name),
    /** @param {{ shape: string, word: string }} state */
    update({ shape, word }) {
      setAttribute(path, 'd', shape)
      setText(name, word)
    },
  }
}
