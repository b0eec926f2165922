/** The store that the configuration names. The client of S3 is loaded when it is one. */
import type { ArtifactStore } from '../tasks/artifact-store.js'
import { openDiskStore } from './disk-store.js'

/** @param place the path of a folder, or `s3://bucket/prefix` */
export async function openArtifactStore(place: string): Promise<ArtifactStore> {
  if (!place.startsWith('s3://')) return openDiskStore(place)
  const { openS3Store } = await import('./s3-store.js')
  return openS3Store(place)
}
