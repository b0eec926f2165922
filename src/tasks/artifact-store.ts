/** Where the bytes of artifacts lie: a folder or an S3-compatible store, see `src/artifacts`. What they are is in PostgreSQL. */
import type { Readable } from 'node:stream'

export interface ArtifactStore {
  /** Takes all of it under this key, or nothing when the source fails. What was there before is replaced. */
  write(key: ArtifactKey, source: Readable): Promise<void>
  /** @throws ArtifactMissingError when there is nothing under this key */
  read(key: ArtifactKey, range?: ByteRange): Promise<Readable>
  /** Also when there is nothing. */
  remove(key: ArtifactKey): Promise<void>
}

export interface ArtifactKey {
  /** The task that made it, or an upload. */
  owner: string
  /** Of a run: two that overlap write beside each other, and the row says which one counts. */
  attempt: number
  name: string
}

/** Both ends included. */
export interface ByteRange {
  start: number
  end: number
}

export class ArtifactMissingError extends Error {
  override readonly name = 'ArtifactMissingError'
}
