/** The few requests of the S3 protocol that the artifact store makes, served from a map: objects, parts, ranges. */
import { createHash } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { serve } from '../handlers/serve.js'
import type { TestScope } from '../helpers/services.js'

export interface S3Server {
  url: string
  objects: Map<string, Buffer>
  /** When each object was written. */
  written: Map<string, Date>
  /** Unfinished multipart uploads, by id. */
  uploads: Map<string, S3Upload>
}

interface S3Upload {
  key: string
  initiatedAt: Date
  parts: Map<number, Buffer>
}

export async function startS3Server(t: TestScope): Promise<S3Server> {
  const objects = new Map<string, Buffer>()
  const written = new Map<string, Date>()
  const uploads = new Map<string, S3Upload>()
  const url = await serve(t, async (request, response) => {
    const { pathname: key, searchParams } = new URL(request.url ?? '', 'http://s3')
    const body = decodeChunks(await buffer(request), request.headers)
    const upload = searchParams.get('uploadId') ?? ''
    const etag = `"${createHash('md5').update(body).digest('hex')}"`
    const xml = (text: string) =>
      response.setHeader('content-type', 'application/xml').end(`<?xml version="1.0"?>${text}`)
    if (request.method === 'POST' && searchParams.has('uploads')) {
      const id = String(uploads.size + 1)
      uploads.set(id, { key, initiatedAt: new Date(), parts: new Map() })
      return xml(`<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`)
    }
    if (request.method === 'PUT' && upload) {
      uploads.get(upload)?.parts.set(Number(searchParams.get('partNumber')), body)
      return response.setHeader('etag', etag).end()
    }
    if (request.method === 'POST' && upload) {
      const sorted = [...(uploads.get(upload)?.parts ?? [])].sort(([a], [b]) => a - b).map(([, part]) => part)
      objects.set(key, Buffer.concat(sorted))
      written.set(key, new Date())
      uploads.delete(upload)
      return xml(`<CompleteMultipartUploadResult><ETag>${etag}</ETag></CompleteMultipartUploadResult>`)
    }
    if (request.method === 'PUT') {
      objects.set(key, body)
      written.set(key, new Date())
      return response.setHeader('etag', etag).end()
    }
    if (request.method === 'DELETE' && upload) {
      uploads.delete(upload)
      response.statusCode = 204
      return response.end()
    }
    if (request.method === 'DELETE') {
      objects.delete(key)
      response.statusCode = 204
      return response.end()
    }
    if (request.method === 'HEAD' && key.split('/').filter(Boolean).length === 1) {
      response.statusCode = key.startsWith('/files') ? 200 : 404
      return response.end()
    }
    const ofBucket = (each: string) => each.replace(/^\/files\//, '')
    if (searchParams.has('uploads')) {
      const items = [...uploads].map(
        ([id, { key: of, initiatedAt }]) =>
          `<Upload><Key>${ofBucket(of)}</Key><UploadId>${id}</UploadId><Initiated>${initiatedAt.toISOString()}</Initiated></Upload>`,
      )
      return xml(
        `<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>${items.join('')}</ListMultipartUploadsResult>`,
      )
    }
    if (searchParams.has('list-type')) {
      // Two objects a page, so that a walk has several pages.
      const left = [...objects.keys()].filter((each) => each > (searchParams.get('continuation-token') ?? '')).sort()
      const items = left
        .slice(0, 2)
        .map(
          (of) =>
            `<Contents><Key>${ofBucket(of)}</Key><LastModified>${written.get(of)?.toISOString()}</LastModified></Contents>`,
        )
      const next =
        left.length > 2
          ? `<IsTruncated>true</IsTruncated><NextContinuationToken>${left[1]}</NextContinuationToken>`
          : '<IsTruncated>false</IsTruncated>'
      return xml(`<ListBucketResult>${next}${items.join('')}</ListBucketResult>`)
    }
    const found = objects.get(key)
    if (found === undefined) {
      response.statusCode = 404
      return xml('<Error><Code>NoSuchKey</Code><Message>no</Message></Error>')
    }
    const [, start, end] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? []
    if (start === undefined) return response.end(found)
    response.statusCode = 206
    return response
      .setHeader('content-range', `bytes ${start}-${end}/${found.length}`)
      .end(found.subarray(Number(start), Number(end) + 1))
  })
  return { url: `s3://files/some/prefix?endpoint=${encodeURIComponent(url)}`, objects, written, uploads }
}

/** A body with a trailing checksum arrives in the protocol's own chunk format. */
function decodeChunks(body: Buffer, headers: Record<string, unknown>): Buffer {
  if (!String(headers['content-encoding'] ?? '').includes('aws-chunked')) return body
  const chunks: Buffer[] = []
  for (let at = 0; ;) {
    const lineEnd = body.indexOf('\r\n', at)
    const size = Number.parseInt(body.subarray(at, lineEnd).toString(), 16)
    if (!(size > 0)) return Buffer.concat(chunks)
    chunks.push(body.subarray(lineEnd + 2, lineEnd + 2 + size))
    at = lineEnd + 2 + size + 2
  }
}
