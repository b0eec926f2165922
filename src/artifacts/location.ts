/**
 * The location of a file within its owner's folder: `<attempt>-<digest of the name>`. The name itself comes from
 * clients and handlers, and file systems disagree about names: length, case, normal forms and reserved words.
 */
import { createHash } from 'node:crypto'
import type { ArtifactKey } from './artifact-store.js'

type LocatedFile = Pick<ArtifactKey, 'attempt' | 'name'>

const DIGEST_CHARACTERS = 40
/** Names that an earlier version accepted and wrote into the path. */
const PLAIN_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/

export function locate({ attempt, name }: LocatedFile): string {
  return `${attempt}-${createHash('sha256').update(name).digest('hex').slice(0, DIGEST_CHARACTERS)}`
}

/** Where an earlier version stored the file; undefined when it would not have accepted this name. */
function locateBefore({ attempt, name }: LocatedFile): string | undefined {
  return PLAIN_NAME.test(name) ? `${attempt}-${name}` : undefined
}

/** All possible locations of the file, the most likely first. */
export function locations(file: LocatedFile): string[] {
  const before = locateBefore(file)
  return [locate(file), ...(before === undefined ? [] : [before])]
}
