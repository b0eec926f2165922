/** Walks the objects and unfinished uploads of a bucket and deletes the leftovers among them: see `leftovers.ts`. */
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  type S3Client,
} from '@aws-sdk/client-s3'
import type { LeftoverOptions, LeftoverPage } from './artifact-store.js'
import { findLeftovers, type FoundFile } from './leftovers.js'

/** A multipart upload shows only when it began, so it may take this long in all, in milliseconds. */
const MAX_UPLOAD_MS = 24 * 3_600_000
const OWNER = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/

/** The objects of a bucket whose keys begin with a prefix. */
export interface BucketPart {
  readonly client: S3Client
  readonly bucket: string
  /** Empty, or with a slash at its end. */
  readonly prefix: string
}

export class S3Leftovers {
  readonly #client: S3Client
  readonly #where: { Bucket: string; Prefix: string }
  readonly #readClock: () => number

  constructor({ client, bucket, prefix }: BucketPart) {
    this.#client = client
    this.#where = { Bucket: bucket, Prefix: prefix }
    this.#readClock = watchClock(client)
  }

  /** See `ArtifactStore.removeLeftovers`. The uploads come first, then the objects. */
  removePage({ after = 'uploads ', ...options }: LeftoverOptions): Promise<LeftoverPage> {
    const [, phase, position] = /^(\w+) ([^]*)$/.exec(after) ?? []
    return phase === 'uploads'
      ? this.#abortOldUploads({ ...options, after: position })
      : this.#removeOldObjects({ ...options, after: position })
  }

  /** Aborts uploads that were begun but never completed. They are billed, and no list of objects shows them. */
  async #abortOldUploads({ after = '', findOwners }: LeftoverOptions): Promise<LeftoverPage> {
    const { Bucket } = this.#where
    const [KeyMarker, UploadIdMarker] = after.split('\n')
    const page = await this.#client.send(
      new ListMultipartUploadsCommand({ ...this.#where, ...(KeyMarker && { KeyMarker, UploadIdMarker }) }),
    )
    const old = (page.Uploads ?? []).filter(({ Initiated }) => this.#isOlder(Initiated, MAX_UPLOAD_MS))
    const files = old.flatMap(({ Key = '', UploadId }) =>
      this.#toFile(Key, true).map((file) => ({ ...file, Key, UploadId })),
    )
    const leftovers = findLeftovers(files, await findOwners(ownersOf(files)))
    for (const { Key, UploadId } of leftovers)
      await this.#client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }))
    const next = page.IsTruncated === true ? `uploads ${page.NextKeyMarker}\n${page.NextUploadIdMarker}` : 'objects '
    return { removed: leftovers.length, next }
  }

  async #removeOldObjects({ after = '', minAgeMs, findOwners }: LeftoverOptions): Promise<LeftoverPage> {
    const { Bucket } = this.#where
    const page = await this.#client.send(
      new ListObjectsV2Command({ ...this.#where, ...(after !== '' && { ContinuationToken: after }) }),
    )
    const old = (page.Contents ?? []).filter(({ LastModified }) => this.#isOlder(LastModified, minAgeMs))
    const files = old.flatMap(({ Key = '' }) => this.#toFile(Key, false).map((file) => ({ ...file, Key })))
    const leftovers = findLeftovers(files, await findOwners(ownersOf(files)))
    for (const { Key } of leftovers) await this.#client.send(new DeleteObjectCommand({ Bucket, Key }))
    return {
      removed: leftovers.length,
      next: page.IsTruncated === true ? `objects ${page.NextContinuationToken}` : undefined,
    }
  }

  #isOlder(at: Date | undefined, ageMs: number): boolean {
    return at !== undefined && this.#readClock() - at.getTime() >= ageMs
  }

  /** Empty when the key does not have the form of ours. */
  #toFile(key: string, isPart: boolean): FoundFile[] {
    const [owner = '', location = '', ...rest] = key.slice(this.#where.Prefix.length).split('/')
    return OWNER.test(owner) && /^\d+-/.test(location) && rest.length === 0 ? [{ owner, location, isPart }] : []
  }
}

/** The time according to the store's last response. Its timestamps are compared only with its own clock. */
function watchClock(client: S3Client): () => number {
  let nowMs = 0
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args)
      const { headers } = result.response as { headers?: Record<string, string> }
      nowMs = Date.parse(headers?.['date'] ?? '') || nowMs
      return result
    },
    { step: 'deserialize', name: 'watchClock', priority: 'high' },
  )
  return () => nowMs
}

function ownersOf(files: readonly FoundFile[]): string[] {
  return [...new Set(files.map(({ owner }) => owner))]
}
