/**
 * The path under which clients reach this process's server: `BASE_PATH`, e.g. `/taskwire`, or an empty text. It is part
 * of every link in an answer. It is global to the process and set once at start, because many rooms convert tasks to
 * what clients see.
 */
let basePath = ''

export function setBasePath(path: string): void {
  basePath = path
}

/** The addresses of this server that texts name, each after a space, a bracket, a quotation mark or at the start. */
const ADDRESSES = /(?<![^\s(`'"])\/(?:api|docs|files|ws|healthz|readyz|openapi\.json|asyncapi\.json)\b/g

/** A text of ours that names addresses of this server, such as `GET /api/tasks`, with the path in front of each. */
export function linkAddresses(text: string): string {
  return text.replaceAll(ADDRESSES, (path) => basePath + path)
}

const TEXTS: ReadonlySet<string> = new Set(['summary', 'description'])

/** A part of a document, with the path in front of each address in its summaries and descriptions. */
export function linkTexts<Part>(part: Part): Part {
  if (Array.isArray(part)) return part.map(linkTexts) as Part
  if (typeof part !== 'object' || part === null) return part
  const linked = Object.entries(part).map(([name, member]: [string, unknown]) => [
    name,
    TEXTS.has(name) && typeof member === 'string' ? linkAddresses(member) : linkTexts(member),
  ])
  return Object.fromEntries(linked) as Part
}

/** A link that clients can use, from a path of this server that begins with `/`. */
export function linkTo(path: string): string {
  return basePath + path
}
