/** Builds the page's elements. Everything shown is text: neither this file nor any other parses HTML. */

const SVG_NAMESPACE = 'http://www.w3.org/2000/svg'

/** One shape for each status, so that it is told by shape and word as well as by colour. 16 by 16. */
const STATUS_SHAPES = {
  SCHEDULED: 'M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2M8 5v3.300l2.200 1.500',
  WAITING: 'M5.500 4v8M10.500 4v8',
  PENDING: 'M8 2.500a5.500 5.500 0 1 0 0 11a5.500 5.500 0 0 0 0-11',
  PROCESSING: 'M5 3.500v9l7.500-4.500z',
  RETRYING: 'M13 8a5 5 0 1 1-1.600-3.700M13 2.500v3h-3',
  CANCELLING: 'M8 2.500a5.500 5.500 0 1 0 0 11a5.500 5.500 0 0 0 0-11M5.500 8h5',
  COMPLETED: 'M3 8.500l3.300 3.300L13 5',
  FAILED: 'M4 4l8 8M12 4l-8 8',
  CANCELLED: 'M8 2.500a5.500 5.500 0 1 0 0 11a5.500 5.500 0 0 0 0-11M4.200 4.200l7.600 7.600',
  EXPIRED: 'M4 2.500h8M4 13.500h8M5 2.500c0 3 6 8 6 11M11 2.500c0 3-6 8-6 11',
}

/**
 * An element. Properties are attributes (left out when null, undefined or false), or listeners when they are functions;
 * children are elements and texts, and nothing where one is null or undefined.
 */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name)
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === 'function') element.addEventListener(key, value)
    else setAttribute(element, key, value)
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined))
  return element
}

export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name)
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? '' : value)
}

/** Leaves an unchanged text alone: no new announcement, no lost selection. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/** The status as shape, word and colour; `update` changes it in place. */
export function createStatus(status) {
  const shape = document.createElementNS(SVG_NAMESPACE, 'path')
  const icon = document.createElementNS(SVG_NAMESPACE, 'svg')
  icon.setAttribute('viewBox', '0 0 16 16')
  icon.setAttribute('aria-hidden', 'true')
  icon.append(shape)
  const word = h('span')
  const element = h('span', { class: 'status' }, icon, word)
  const update = (status) => {
    setAttribute(element, 'data-status', status)
    setAttribute(shape, 'd', STATUS_SHAPES[status] ?? STATUS_SHAPES.PENDING)
    setText(word, status)
  }
  update(status)
  return { element, update }
}

/** The progress of a task as a bar; `update` takes a fraction, null when it runs without saying how far, undefined when not running. */
export function createBar(label) {
  const fill = h('span', { class: 'fill' })
  const element = h('div', { class: 'bar', role: 'progressbar', 'aria-label': label, 'aria-valuemin': 0, 'aria-valuemax': 100 }, fill)
  const update = (fraction, { status, text }) => {
    const percent = typeof fraction === 'number' ? Math.round(fraction * 100) : null
    setAttribute(element, 'data-status', status)
    setAttribute(element, 'data-unknown', fraction === null)
    setAttribute(element, 'aria-valuenow', percent ?? (fraction === undefined ? 0 : null))
    setAttribute(element, 'aria-valuetext', text)
    fill.style.width = percent === null ? '' : `${percent}%`
  }
  return { element, update }
}

/** A button that copies what `getText` returns, and says so. */
export function createCopyButton(getText, label) {
  const button = h('button', { type: 'button', class: 'copy', 'aria-label': label }, 'Copy')
  let timer
  button.addEventListener('click', async () => {
    const isCopied = await copy(getText())
    setText(button, isCopied ? 'Copied' : 'Press Ctrl+C')
    button.dataset.done = isCopied
    clearTimeout(timer)
    timer = setTimeout(() => {
      setText(button, 'Copy')
      delete button.dataset.done
    }, 1600)
  })
  return button
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return copyFromSelection(text) // a page on plain HTTP has no clipboard
  }
}

function copyFromSelection(text) {
  const focused = document.activeElement
  const area = h('textarea', { class: 'unseen', readonly: true })
  area.value = text
  document.body.append(area)
  area.select()
  const isCopied = document.execCommand('copy')
  area.remove()
  focused?.focus()
  return isCopied
}
