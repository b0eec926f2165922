/** Builds the page's elements. Everything shown is text: no file of the page parses HTML. */

/**
 * An element. Properties are attributes (left out if null, undefined or false), or listeners if they are functions.
 * Children are elements and texts; null and undefined are skipped.
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

/** Leaves unchanged text alone: no repeated announcement, no lost selection. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}
