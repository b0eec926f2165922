/** The few requests of the S3 protocol that the store makes, over a map: objects, parts, ranges. */
import { createHash } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { serve } from '../handlers/serve.js'
import type { TestScope } from '../helpers/services.js'

export interface S3Server {
  url: string
  objects: Map<string, Buffer>
}

export async function startS3Server(t: TestScope): Promise<S3Server> {
  const objects = new Map<string, Buffer>()
  const parts = new Map<string, Map<number, Buffer>>()
  const url = await serve(t, async (request, response) => {
    const { pathname: key, searchParams } = new URL(request.url ?? '', 'http://s3')
    const body = decodeChunks(await buffer(request), request.headers)
    const upload = searchParams.get('uploadId') ?? ''
    const etag = `"${createHash('md5').update(body).digest('hex')}"`
    const xml = (text: string) => response.setHeader('content-type', 'application/xml').end(`<?xml version="1.0"?>${text}`)
    if (request.method === 'POST' && searchParams.has('uploads')) {
      parts.set('1', new Map())
      return xml('<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>')
    }
    if (request.method === 'PUT' && upload) {
      parts.get(upload)?.set(Number(searchParams.get('partNumber')), body)
      return response.setHeader('etag', etag).end()
    }
    if (request.method === 'POST' && upload) {
      const sorted = [...(parts.get(upload) ?? [])].sort(([a], [b]) => a - b).map(([, part]) => part)
      objects.set(key, Buffer.concat(sorted))
      return xml(`<CompleteMultipartUploadResult><ETag>${etag}</ETag></CompleteMultipartUploadResult>`)
    }
    if (request.method === 'PUT') {
      objects.set(key, body)
      return response.setHeader('etag', etag).end()
    }
    if (request.method === 'DELETE') {
      objects.delete(key)
      response.statusCode = 204
      return response.end()
    }
    const found = objects.get(key)
    if (found === undefined) {
      response.statusCode = 404
      return xml('<Error><Code>NoSuchKey</Code><Message>no</Message></Error>')
    }
    const [, start, end] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? []
    if (start === undefined) return response.end(found)
    response.statusCode = 206
    return response.setHeader('content-range', `bytes ${start}-${end}/${found.length}`).end(found.subarray(Number(start), Number(end) + 1))
  })
  return { url: `s3://files/some/prefix?endpoint=${encodeURIComponent(url)}`, objects }
}

/** A body that is sent with a checksum after it comes in chunks of the protocol's own. */
function decodeChunks(body: Buffer, headers: Record<string, unknown>): Buffer {
  if (!String(headers['content-encoding'] ?? '').includes('aws-chunked')) return body
  const chunks: Buffer[] = []
  for (let at = 0; ; ) {
    const lineEnd = body.indexOf('\r\n', at)
    const size = Number.parseInt(body.subarray(at, lineEnd).toString(), 16)
    if (!(size > 0)) return Buffer.concat(chunks)
    chunks.push(body.subarray(lineEnd + 2, lineEnd + 2 + size))
    at = lineEnd + 2 + size + 2
  }
}
