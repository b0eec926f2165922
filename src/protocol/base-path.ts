/**
 * The path under which the outside reaches this process's server: `BASE_PATH`, e.g. `/taskwire`, or nothing. It is part of every link
 * in an answer. One for a process, set once at its start, because tasks are made into what clients see in many rooms.
 */
let basePath = ''

export function setBasePath(path: string): void {
  basePath = path
}

/** A link that works outside, to a path of the server that begins with `/`. */
export function linkTo(path: string): string {
  return basePath + path
}
