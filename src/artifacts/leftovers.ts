/**
 * Which stored files are nobody's: those of uploads that broke off and of attempts whose worker was killed. Only what is certain to be
 * a leftover counts, because a folder may be shared with another installation, whose rows are in another database.
 */
import type { KnownOwner } from './artifact-store.js'
import { locations } from './location.js'

export interface FoundFile {
  owner: string
  /** Its name within the folder of its owner. */
  location: string
  /** Still being written when it was last written to. */
  isPart: boolean
}

/** Of files that nothing was written to for long. */
export function findLeftovers<File extends FoundFile>(files: readonly File[], owners: ReadonlyMap<string, KnownOwner>): File[] {
  return files.filter((file) => isLeftover(file, owners.get(file.owner)))
}

function isLeftover({ location, isPart }: FoundFile, owner: KnownOwner | undefined): boolean {
  // A file that is not whole is of no use to anybody, whoever began it.
  if (owner === undefined) return isPart
  if (owner.files.some((file) => locations(file).includes(location))) return false
  const attempt = Number(/^\d+/.exec(location)?.[0])
  return attempt !== owner.runningAttempt
}
