/**
 * Decides which stored files are leftovers: of interrupted uploads and of attempts whose worker was killed. Only
 * certain leftovers count, because a folder may be shared with another installation whose rows are in another database.
 */
import type { KnownOwner } from './artifact-store.js'
import { locations } from './location.js'

export interface FoundFile {
  owner: string
  /** The file's name within its owner's folder. */
  location: string
  /** Whether writing was still in progress when the file was last written to. */
  isPart: boolean
}

/** @param files files that were not written to for a long time */
export function findLeftovers<File extends FoundFile>(
  files: readonly File[],
  owners: ReadonlyMap<string, KnownOwner>,
): File[] {
  return files.filter((file) => isLeftover(file, owners.get(file.owner)))
}

function isLeftover({ location, isPart }: FoundFile, owner: KnownOwner | undefined): boolean {
  // An incomplete file is of no use, whichever installation began it.
  if (owner === undefined) return isPart
  if (owner.files.some((file) => locations(file).includes(location))) return false
  const attempt = Number(/^\d+/.exec(location)?.[0])
  return attempt !== owner.runningAttempt
}
