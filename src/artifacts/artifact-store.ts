/** Where the bytes of artifacts lie: a folder or an S3-compatible store, see `src/artifacts`. What they are is in PostgreSQL. */
import type { Readable } from 'node:stream'

export interface ArtifactStore {
  /**
   * Makes sure that files can be written, as far as that shows without writing one.
   * @throws StartupError that says what to do
   */
  prepare(): Promise<void>
  /**
   * Whether a file of so many bytes may be begun.
   * @throws DiskFullError when there is not enough space
   */
  assertRoom(bytes: number): Promise<void>
  /**
   * Takes all of it under this key, or nothing when the source fails. What was there before is replaced.
   * @throws DiskFullError when there is not enough space
   */
  write(key: ArtifactKey, source: Readable): Promise<void>
  /** @throws ArtifactMissingError when there is nothing under this key */
  read(key: ArtifactKey, range?: ByteRange): Promise<Readable>
  /** Also when there is nothing. */
  remove(key: ArtifactKey): Promise<void>
  /** One page of a walk through all that is stored: removes leftovers. See `src/artifacts/leftovers.ts`. */
  removeLeftovers(options: LeftoverOptions): Promise<LeftoverPage>
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

export interface LeftoverOptions {
  /** Where to go on, as the page before said; undefined at the start. */
  after: string | undefined
  /** Only what was last written to so long ago, in milliseconds, by the clock of the store itself. */
  minAgeMs: number
  /** What this installation knows of owners; those that it does not know are left out. */
  findOwners(owners: readonly string[]): Promise<ReadonlyMap<string, KnownOwner>>
}

export interface LeftoverPage {
  removed: number
  /** Where the next page begins; undefined after the last. */
  next: string | undefined
}

/** A task, or an upload. */
export interface KnownOwner {
  /** The files that count. */
  files: readonly { attempt: number; name: string }[]
  /** Of a task that runs: its files may still be written. */
  runningAttempt: number | undefined
}

export class ArtifactMissingError extends Error {
  override readonly name = 'ArtifactMissingError'
}
