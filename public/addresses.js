/** Addresses of the page, wherever a proxy has put it. Without DOM. */

/** The address of the page's folder, with a slash at its end. This file lies in it, or in `assets/<fingerprint>/` of it. */
export const rootUrl = new URL('.', import.meta.url).href.replace(/\/assets\/[\w-]+\/$/, '/')
/** Its path: `/`, or `/taskwire/` behind a proxy. */
const ROOT = new URL(rootUrl).pathname
const OLD_ADDRESS = /^#\/(?:(tasks|types|new)(?:\/([^/?]+))?)?$/

/** The address of a page for a link: `linkTo('/tasks/', id)`. What follows the path is one part of it, whatever its characters. */
export function linkTo(path, part) {
  return ROOT + path.slice(1) + (part === undefined ? '' : encodeURIComponent(part))
}

/** The path within the page, `/tasks/…`; undefined for what lies outside. */
export function pathOf({ pathname }) {
  if (!pathname.startsWith(ROOT)) return undefined
  const path = pathname.slice(ROOT.length).replace(/\/+$/, '')
  return path === 'index.html' ? '/' : `/${path}`
}

/** Pages were once fragments of one address, `/#/tasks/<id>`: where such a one leads now; undefined for any other. */
export function linkFromFragment(hash) {
  const found = OLD_ADDRESS.exec(hash)
  if (found === null) return undefined
  const [, folder, part] = found
  return part === undefined ? linkTo(`/${folder ?? ''}`) : linkTo(`/${folder}/`, decode(part))
}

/**
 * The page at a path, and what its address names; undefined when there is none.
 * @returns `{ page, parameters }`
 */
export function findPage(pages, path) {
  for (const page of pages) {
    const parameters = match(page.path, path)
    if (parameters !== undefined) return { page, parameters }
  }
  return undefined
}

function match(pattern, path) {
  const [wanted, given] = [pattern.split('/'), path.split('/')]
  if (wanted.length !== given.length) return undefined
  const parameters = {}
  for (const [index, part] of wanted.entries()) {
    if (part.startsWith(':') && given[index] !== '') parameters[part.slice(1)] = decode(given[index])
    else if (part !== given[index]) return undefined
  }
  return parameters
}

/** What is no percent-encoding is taken as it is. */
function decode(part) {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
