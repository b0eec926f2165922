/** Opens the store named in the configuration. The S3 client is only loaded for an S3 store. */
import type { ArtifactStore } from './artifact-store.js'
import type { DiskFloor } from './disk-floor.js'
import { openDiskStore } from './disk-store.js'

/** @param place the path of a folder, or `s3://bucket/prefix` @param floor keeps the folder's disk from filling up */
export async function openArtifactStore(place: string, floor?: DiskFloor): Promise<ArtifactStore> {
  if (!isS3(place)) return openDiskStore(place, floor)
  const { openS3Store } = await import('./s3-store.js')
  return openS3Store(place)
}

/** Whether the files are in S3 rather than on a disk of this machine. */
export function isS3(place: string): boolean {
  return place.startsWith('s3://')
}
