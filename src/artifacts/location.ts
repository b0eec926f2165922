/**
 * Where the bytes of one file lie within the folder of its owner: `<attempt>-<digest of the name>`. The name itself comes from clients
 * and handlers, and no file system agrees with another about names: length, case, normal forms and reserved words differ.
 */
import { createHash } from 'node:crypto'
import type { ArtifactKey } from './artifact-store.js'

type Place = Pick<ArtifactKey, 'attempt' | 'name'>

const DIGEST_CHARACTERS = 40
/** Names as an earlier version took them; it wrote them into the path. */
const PLAIN_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/

export function locate({ attempt, name }: Place): string {
  return `${attempt}-${createHash('sha256').update(name).digest('hex').slice(0, DIGEST_CHARACTERS)}`
}

/** Where an earlier version has put such a file; undefined when it could not have had this name. */
function locateBefore({ attempt, name }: Place): string | undefined {
  return PLAIN_NAME.test(name) ? `${attempt}-${name}` : undefined
}

/** Everywhere the bytes may lie, the likeliest first. */
export function locations(place: Place): string[] {
  const before = locateBefore(place)
  return [locate(place), ...(before === undefined ? [] : [before])]
}
