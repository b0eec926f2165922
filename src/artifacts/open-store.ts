/** The store that the configuration names. The client of S3 is loaded when it is one. */
import type { ArtifactStore } from './artifact-store.js'
import type { DiskFloor } from './disk-floor.js'
import { openDiskStore } from './disk-store.js'

/**
 * @param place the path of a folder, or `s3://bucket/prefix`
 * @param floor what keeps the disk of a folder from filling up
 */
export async function openArtifactStore(place: string, floor?: DiskFloor): Promise<ArtifactStore> {
  if (!isS3(place)) return openDiskStore(place, floor)
  const { openS3Store } = await import('./s3-store.js')
  return openS3Store(place)
}

/** Whether the files are somewhere else than on a disk of this machine. */
export function isS3(place: string): boolean {
  return place.startsWith('s3://')
}
