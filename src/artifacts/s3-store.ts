/**
 * Artifacts in a bucket of Amazon S3 or a compatible store. Credentials come from the environment, as the AWS SDK reads
 * them.
 */
import type { Readable } from 'node:stream'
import { DeleteObjectCommand, GetObjectCommand, HeadBucketCommand, NoSuchKey, S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { StartupError } from '../startup-error.js'
import { ArtifactMissingError, type ArtifactKey, type ArtifactStore } from './artifact-store.js'
import { DiskFullError } from './disk-floor.js'
import { locate, locations } from './location.js'
import { S3Leftovers } from './s3-leftovers.js'

/** How long a start waits for the store to confirm that the bucket exists. */
const PREPARE_DEADLINE_MS = 5_000
const INSUFFICIENT_STORAGE = 507

/** @param url `s3://bucket/prefix`; with `?endpoint=https://…` for stores other than Amazon's, and `&region=…` */
export function openS3Store(url: string): ArtifactStore {
  const { hostname: Bucket, pathname, searchParams } = new URL(url)
  const endpoint = searchParams.get('endpoint')
  const client = new S3Client({
    region: searchParams.get('region') ?? process.env['AWS_REGION'] ?? 'us-east-1',
    // Other stores rarely have a host name for each bucket.
    ...(endpoint && { endpoint, forcePathStyle: true }),
  })
  const folder = pathname.replace(/^\/+|\/+$/g, '')
  const prefix = folder === '' ? '' : `${folder}/`
  const leftovers = new S3Leftovers({ client, bucket: Bucket, prefix })
  const keysOf = (key: ArtifactKey) => locations(key).map((location) => `${prefix}${key.owner}/${location}`)

  async function readObject(Key: string, Range: string | undefined): Promise<Readable | undefined> {
    try {
      return (await client.send(new GetObjectCommand({ Bucket, Key, ...(Range && { Range }) }))).Body as Readable
    } catch (error) {
      if (error instanceof NoSuchKey) return undefined
      throw error
    }
  }

  return {
    async prepare() {
      await client
        .send(new HeadBucketCommand({ Bucket }), { abortSignal: AbortSignal.timeout(PREPARE_DEADLINE_MS) })
        .catch((error: unknown) => throwIfMisconfigured(Bucket, error))
    },
    // Only the store knows how much space it has.
    assertRoom: async () => {},
    async write(key, source) {
      const Key = `${prefix}${key.owner}/${locate(key)}`
      await new Upload({ client, params: { Bucket, Key, Body: source } }).done().catch((error: unknown) => {
        throw statusOf(error) === INSUFFICIENT_STORAGE
          ? new DiskFullError(`the store of s3://${Bucket} is full`, { cause: error })
          : error
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
    removeLeftovers: (options) => leftovers.removePage(options),
  }
}

/**
 * Only faults that an operator can fix prevent a start: a store that is away may come back, and one that only permits
 * reading and writing files answers 403.
 * @throws StartupError when there is no bucket, or there are no credentials
 */
function throwIfMisconfigured(bucket: string, error: unknown): void {
  if (statusOf(error) === 404)
    throw new StartupError(`there is no bucket ${bucket}. Create it, or set ARTIFACTS_DIR to another bucket.`)
  if ((error as { name?: string }).name === 'CredentialsProviderError')
    throw new StartupError(
      `there are no credentials for ARTIFACTS_DIR (s3://${bucket}). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.`,
    )
}

/** The HTTP status of the store's answer; undefined when it did not answer. */
function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode
}
