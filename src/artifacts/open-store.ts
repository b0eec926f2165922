/** Opens the store named in the configuration. The S3 client is only loaded for an S3 store. */
import type { ArtifactStore } from './artifact-store.js'
import type { DiskFloor } from './disk-floor.js'
import { openDiskStore } from './disk-store.js'

/** @param location the path of a folder, or `s3://bucket/prefix` @param floor keeps the folder's disk from filling up */
export async function openArtifactStore(location: string, floor?: DiskFloor): Promise<ArtifactStore> {
  if (!isS3(location)) return openDiskStore(location, floor)
  const { openS3Store } = await import('./s3-store.js')
  return openS3Store(location)
}

/** Whether the files are in S3 rather than on a disk of this machine. */
export function isS3(location: string): boolean {
  return location.startsWith('s3://')
}
