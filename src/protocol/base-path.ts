/**
 * The path under which clients reach this process's server: `BASE_PATH`, e.g. `/taskwire`, or an empty text. It is part
 * of every link in an answer. It is global to the process and set once at start, because many rooms convert tasks to
 * what clients see.
 */
let basePath = ''

export function setBasePath(path: string): void {
  basePath = path
}

/** A text of ours that names addresses of this server, such as `GET /api/tasks`, with the path in front of each. */
export function linkAddresses(text: string): string {
  return text.replaceAll(/(?<![^\s(])\/(?:api|docs|files|ws)\b/g, (path) => basePath + path)
}

/** A link that clients can use, from a path of this server that begins with `/`. */
export function linkTo(path: string): string {
  return basePath + path
}
