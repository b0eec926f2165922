/**
 * Artifacts in a bucket of Amazon S3 or a compatible store. Credentials come from the environment, as the AWS SDK reads
 * them.
 */
import type { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  NoSuchKey,
  S3Client,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { StartupError } from '../startup-error.js'
import {
  ArtifactMissingError,
  type ArtifactKey,
  type ArtifactStore,
  type LeftoverOptions,
  type LeftoverPage,
} from './artifact-store.js'
import { DiskFullError } from './disk-floor.js'
import { findLeftovers, type FoundFile } from './leftovers.js'
import { locate, locations } from './location.js'

/** A multipart upload shows only when it began, so it may take this long in all, in milliseconds. */
const MAX_UPLOAD_MS = 24 * 3_600_000
/** How long a start waits for the store to confirm that the bucket exists. */
const PREPARE_DEADLINE_MS = 5_000
const INSUFFICIENT_STORAGE = 507
const OWNER = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/

/** @param url `s3://bucket/prefix`; with `?endpoint=https://…` for stores other than Amazon's, and `&region=…` */
export function openS3Store(url: string): ArtifactStore {
  const { hostname: Bucket, pathname, searchParams } = new URL(url)
  const endpoint = searchParams.get('endpoint')
  const client = new S3Client({
    region: searchParams.get('region') ?? process.env['AWS_REGION'] ?? 'us-east-1',
    // Other stores rarely have a host name for each bucket.
    ...(endpoint && { endpoint, forcePathStyle: true }),
  })
  const readClock = watchClock(client)
  const prefix = pathname.replace(/^\/+|\/+$/g, '')
  const Prefix = prefix === '' ? '' : `${prefix}/`
  const keysOf = (key: ArtifactKey) => locations(key).map((location) => `${Prefix}${key.owner}/${location}`)

  async function readObject(Key: string, Range: string | undefined): Promise<Readable | undefined> {
    try {
      return (await client.send(new GetObjectCommand({ Bucket, Key, ...(Range && { Range }) }))).Body as Readable
    } catch (error) {
      if (error instanceof NoSuchKey) return undefined
      throw error
    }
  }

  /** Aborts uploads that were begun but never completed. They are billed, and no list of objects shows them. */
  async function abortOldUploads({ after = '', findOwners }: LeftoverOptions): Promise<LeftoverPage> {
    const [KeyMarker, UploadIdMarker] = after.split('\n')
    const page = await client.send(
      new ListMultipartUploadsCommand({ Bucket, Prefix, ...(KeyMarker && { KeyMarker, UploadIdMarker }) }),
    )
    const old = (page.Uploads ?? []).filter(({ Initiated }) => isOlder(Initiated, readClock(), MAX_UPLOAD_MS))
    const files = old.flatMap(({ Key = '', UploadId }) => toFile(Key, true).map((file) => ({ ...file, Key, UploadId })))
    const leftovers = findLeftovers(files, await findOwners(ownersOf(files)))
    for (const { Key, UploadId } of leftovers)
      await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }))
    const next = page.IsTruncated === true ? `uploads ${page.NextKeyMarker}\n${page.NextUploadIdMarker}` : 'objects '
    return { removed: leftovers.length, next }
  }

  async function removeOldObjects({ after = '', minAgeMs, findOwners }: LeftoverOptions): Promise<LeftoverPage> {
    const page = await client.send(
      new ListObjectsV2Command({ Bucket, Prefix, ...(after !== '' && { ContinuationToken: after }) }),
    )
    const old = (page.Contents ?? []).filter(({ LastModified }) => isOlder(LastModified, readClock(), minAgeMs))
    const files = old.flatMap(({ Key = '' }) => toFile(Key, false).map((file) => ({ ...file, Key })))
    const leftovers = findLeftovers(files, await findOwners(ownersOf(files)))
    for (const { Key } of leftovers) await client.send(new DeleteObjectCommand({ Bucket, Key }))
    return {
      removed: leftovers.length,
      next: page.IsTruncated === true ? `objects ${page.NextContinuationToken}` : undefined,
    }
  }

  /** Empty when the key does not have the form of ours. */
  function toFile(key: string, isPart: boolean): FoundFile[] {
    const [owner = '', location = '', ...rest] = key.slice(Prefix.length).split('/')
    return OWNER.test(owner) && /^\d+-/.test(location) && rest.length === 0 ? [{ owner, location, isPart }] : []
  }

  return {
    async prepare() {
      // Other errors are ignored: a store that is away may come back, and one that only permits reading and writing
      // files answers 403.
      await client
        .send(new HeadBucketCommand({ Bucket }), { abortSignal: AbortSignal.timeout(PREPARE_DEADLINE_MS) })
        .catch((error: unknown) => {
          const { name, $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } }
          if ($metadata?.httpStatusCode === 404)
            throw new StartupError(`there is no bucket ${Bucket}. Create it, or set ARTIFACTS_DIR to another bucket.`)
          if (name === 'CredentialsProviderError') {
            throw new StartupError(
              `there are no credentials for ARTIFACTS_DIR (s3://${Bucket}). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.`,
            )
          }
        })
    },
    // Only the store knows how much space it has.
    assertRoom: async () => {},
    async write(key, source) {
      const Key = `${Prefix}${key.owner}/${locate(key)}`
      await new Upload({ client, params: { Bucket, Key, Body: source } }).done().catch((error: unknown) => {
        const { $metadata } = error as { $metadata?: { httpStatusCode?: number } }
        if ($metadata?.httpStatusCode === INSUFFICIENT_STORAGE)
          throw new DiskFullError(`the store of s3://${Bucket} is full`, { cause: error })
        throw error
      })
    },
    async read(key, range) {
      for (const Key of keysOf(key)) {
        const body = await readObject(Key, range && `bytes=${range.start}-${range.end}`)
        if (body !== undefined) return body
      }
      throw new ArtifactMissingError(`the object of ${key.name} is gone`)
    },
    async remove(key) {
      for (const Key of keysOf(key)) await client.send(new DeleteObjectCommand({ Bucket, Key }))
    },
    async removeLeftovers({ after = 'uploads ', ...options }) {
      const [, phase, position] = /^(\w+) ([^]*)$/.exec(after) ?? []
      return phase === 'uploads'
        ? abortOldUploads({ ...options, after: position })
        : removeOldObjects({ ...options, after: position })
    },
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

function isOlder(at: Date | undefined, nowMs: number, ageMs: number): boolean {
  return at !== undefined && nowMs - at.getTime() >= ageMs
}

function ownersOf(files: readonly FoundFile[]): string[] {
  return [...new Set(files.map(({ owner }) => owner))]
}
