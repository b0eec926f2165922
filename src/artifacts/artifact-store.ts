/**
 * Stores the bytes of artifacts, in a folder or an S3-compatible store (see `src/artifacts`). Their metadata is in
 * PostgreSQL.
 */
import type { Readable } from 'node:stream'

export interface ArtifactStore {
  /**
   * Checks that files can be written, as far as possible without writing one.
   * @throws StartupError that says what to do
   */
  prepare(): Promise<void>
  /** Checks that there is space for a file of this size. @throws DiskFullError when there is not enough space */
  assertRoom(bytes: number): Promise<void>
  /**
   * Stores the whole source under this key, or nothing when the source fails. Replaces an existing file.
   * @throws DiskFullError when there is not enough space
   */
  write(key: ArtifactKey, source: Readable): Promise<void>
  /** @throws ArtifactMissingError when there is no file under this key */
  read(key: ArtifactKey, range?: ByteRange): Promise<Readable>
  /** Deletes the file. Does nothing when there is none. */
  remove(key: ArtifactKey): Promise<void>
  /** Deletes leftovers from one page of a walk through all stored files. See `src/artifacts/leftovers.ts`. */
  removeLeftovers(options: LeftoverOptions): Promise<LeftoverPage>
}

export interface ArtifactKey {
  /** The task that produced the file, or an upload. */
  owner: string
  /** The number of the attempt. Overlapping attempts write separate files, and the row says which one counts. */
  attempt: number
  name: string
}

/** A range of bytes, both ends included. */
export interface ByteRange {
  start: number
  end: number
}

export interface LeftoverOptions {
  /** Where to continue: `next` of the previous page; undefined for the first. */
  after: string | undefined
  /** Only files last written to at least this long ago, in milliseconds, by the clock of the store itself. */
  minAgeMs: number
  /** Returns what this installation knows about the owners. Unknown owners are left out. */
  findOwners(owners: readonly string[]): Promise<ReadonlyMap<string, KnownOwner>>
}

export interface LeftoverPage {
  removed: number
  /** Where the next page begins; undefined after the last. */
  next: string | undefined
}

/** A task or an upload. */
export interface KnownOwner {
  /** The files that are recorded. */
  files: readonly { attempt: number; name: string }[]
  /** Set while the task is running: files of this attempt may still be written. */
  runningAttempt: number | undefined
}

export class ArtifactMissingError extends Error {
  override readonly name = 'ArtifactMissingError'
}
