/** Addresses of the page, under whatever path a proxy serves it. No DOM. */

/**
 * The address of the page's folder, with a trailing slash. This file is in that folder, or in its subfolder
 * `assets/<fingerprint>/`.
 */
export const rootUrl = new URL('.', import.meta.url).href.replace(/\/assets\/[\w-]+\/$/, '/')
/** The path of that address: `/`, or `/taskwire/` behind a proxy. */
const ROOT = new URL(rootUrl).pathname
const OLD_ADDRESS = /^#\/(?:(tasks|types|new)(?:\/([^/?]+))?)?$/

/**
 * The address of a page for a link: `linkTo('/tasks/', id)`. The second argument is encoded as one segment of the path,
 * whatever its characters.
 */
export function linkTo(path, part) {
  return ROOT + path.slice(1) + (part === undefined ? '' : encodeURIComponent(part))
}

/** The path within the page, `/tasks/…`; undefined for an address outside it. */
export function pathOf({ pathname }) {
  if (!pathname.startsWith(ROOT)) return undefined
  const path = pathname.slice(ROOT.length).replace(/\/+$/, '')
  return path === 'index.html' ? '/' : `/${path}`
}

/**
 * Pages used to be fragments of one address, `/#/tasks/<id>`. Returns the present address of such a fragment; undefined
 * for any other.
 */
export function linkFromFragment(hash) {
  const found = OLD_ADDRESS.exec(hash)
  if (found === null) return undefined
  const [, folder, part] = found
  return part === undefined ? linkTo(`/${folder ?? ''}`) : linkTo(`/${folder}/`, decode(part))
}

/**
 * The page at a path, with the parameters of its address; undefined if there is none.
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

/** Text that is not valid percent-encoding is returned unchanged. */
function decode(part) {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
