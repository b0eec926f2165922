/** Artifacts in a bucket of Amazon S3 or whatever speaks its protocol. Credentials come from the environment, as its SDK reads them. */
import type { Readable } from 'node:stream'
import { DeleteObjectCommand, GetObjectCommand, NoSuchKey, S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { ArtifactMissingError, type ArtifactKey, type ArtifactStore } from '../tasks/artifact-store.js'

/** @param url `s3://bucket/prefix`; with `?endpoint=https://…` for stores other than Amazon's, and `&region=…` */
export function openS3Store(url: string): ArtifactStore {
  const { hostname: Bucket, pathname, searchParams } = new URL(url)
  const endpoint = searchParams.get('endpoint')
  const client = new S3Client({
    region: searchParams.get('region') ?? process.env['AWS_REGION'] ?? 'us-east-1',
    // Stores other than Amazon's seldom have a host name for each bucket.
    ...(endpoint && { endpoint, forcePathStyle: true }),
  })
  const prefix = pathname.replace(/^\/+|\/+$/g, '')
  const keyOf = ({ owner, attempt, name }: ArtifactKey) => [prefix, owner, `${attempt}-${name}`].filter(Boolean).join('/')

  return {
    async write(key, source) {
      await new Upload({ client, params: { Bucket, Key: keyOf(key), Body: source } }).done()
    },
    async read(key, range) {
      const Range = range && `bytes=${range.start}-${range.end}`
      try {
        const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: keyOf(key), ...(Range && { Range }) }))
        return Body as Readable
      } catch (error) {
        throw error instanceof NoSuchKey ? new ArtifactMissingError(`the object of ${key.name} is gone`) : error
      }
    },
    async remove(key) {
      await client.send(new DeleteObjectCommand({ Bucket, Key: keyOf(key) }))
    },
  }
}
