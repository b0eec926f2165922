/** Files of tasks: list, download with ranges, signed links, uploads. */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Principal } from '../../access/principal.js'
import { ArtifactMissingError, type ArtifactStore } from '../../artifacts/artifact-store.js'
import { DiskFullError } from '../../artifacts/disk-floor.js'
import { DEFAULT_MEDIA_TYPE, readMediaType } from '../../artifacts/media-type.js'
import type { Database } from '../../db/database.js'
import {
  ArtifactList,
  ArtifactParams,
  CreateLink,
  Link,
  LinkQuery,
  Upload,
  UploadQuery,
  type Artifact,
} from '../../protocol/artifact.js'
import { linkTo } from '../../protocol/base-path.js'
import { Problem } from '../../protocol/errors.js'
import { findFileNameError } from '../../protocol/file-name.js'
import { NoBody, TaskParams } from '../../protocol/http.js'
import type { TaskId } from '../../protocol/task.js'
import {
  finishUploadIfReserved,
  forgetUnfinishedUpload,
  MAX_UPLOADS,
  readArtifacts,
  readLinkedArtifacts,
  reserveUploadIfRoom,
  type StoredArtifact,
} from '../../store/artifacts.js'
import { readTasks } from '../../store/reads/tasks.js'
import { readSecret } from '../../store/secrets.js'
import { createArtifactWriter } from '../../tasks/attempt/context/artifact-writer.js'
import { createTaskId } from '../../tasks/create/task-id.js'
import type { Bodies } from '../bodies/body-budget.js'
import { readUpload } from '../bodies/read-upload.js'
import { readByteRange } from '../byte-range.js'
import { hasEtag } from '../etag.js'
import { describeFile } from '../file-headers.js'
import type { StreamLimits } from '../live/stream-limits.js'
import { answerProblem, ProblemError } from '../problem.js'

/** The largest file that a client may upload, in bytes. */
const MAX_UPLOAD_BYTES = 256 * 1024 * 1024
/** How long an upload is kept for a task that uses it. */
const UPLOAD_TTL_MS = 24 * 3_600_000
const DEFAULT_LINK_SECONDS = 3_600
const Bytes = Type.Unsafe<Readable>({ type: 'string', format: 'binary' })

export interface ArtifactDeps {
  db: Database
  artifacts: ArtifactStore
  limits: StreamLimits
  bodies: Bodies
  /** The maximum size of all uploads together, in MB. */
  maxUploadsMb: number
}

export const artifactRoutes: FastifyPluginAsyncTypebox<ArtifactDeps> = async (
  app,
  { db, artifacts, limits, bodies, maxUploadsMb },
) => {
  // Accepts any content type as a stream; JSON and text are files here too.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
  app.setErrorHandler((error: FastifyError, request, reply) => {
    answerProblem(error.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE' ? noMediaType() : error, request, reply)
  })

  async function find(principal: Principal, owner: TaskId, name: string): Promise<StoredArtifact> {
    return pick(await readArtifacts(principal, db, owner), owner, name)
  }

  app.get(
    '/api/tasks/:id/artifacts',
    {
      schema: {
        tags: ['artifacts'],
        operationId: 'listArtifacts',
        summary: 'List the files of a task',
        params: TaskParams,
        response: { 200: ArtifactList, 400: Problem, 404: Problem },
      },
    },
    async (request) => {
      const id = request.params.id.toLowerCase()
      const [[task], found] = await Promise.all([
        readTasks(request.principal, db, [id]),
        readArtifacts(request.principal, db, id),
      ])
      if (task === undefined) throw new ProblemError('task_not_found', `There is no task ${id}.`)
      return { items: found.map(toArtifact) }
    },
  )

  app.get(
    '/api/tasks/:id/artifacts/:name',
    {
      schema: {
        tags: ['artifacts'],
        operationId: 'downloadArtifact',
        summary: 'Download a file of a task',
        description:
          '`Range` selects a part of it; `ETag` is its SHA-256, for `If-None-Match` and `If-Match`. Browsers show images, plain text and HTML (in a sandbox); everything else ' +
          'is downloaded, and anything that a browser could run is sent as application/octet-stream. The list has the stored media type.',
        params: ArtifactParams,
        response: {
          200: Bytes,
          206: Bytes,
          304: NoBody,
          404: Problem,
          412: Problem,
          416: Problem,
          429: Problem,
          503: Problem,
        },
      },
    },
    async (request, reply) =>
      download(await find(request.principal, request.params.id.toLowerCase(), request.params.name), request, reply),
  )

  app.post(
    '/api/tasks/:id/artifacts/:name/links',
    {
      schema: {
        tags: ['artifacts'],
        operationId: 'createArtifactLink',
        summary: 'Create a temporary link to a file that anyone may read',
        params: ArtifactParams,
        querystring: CreateLink,
        response: { 201: Link, 404: Problem },
      },
    },
    async (request, reply) => {
      const { owner, name } = await find(request.principal, request.params.id.toLowerCase(), request.params.name)
      const expires = Math.floor(Date.now() / 1_000) + (request.query.expiresInSeconds ?? DEFAULT_LINK_SECONDS)
      const signature = sign(await readSecret(db, 'links'), owner, name, String(expires))
      reply.code(201)
      return {
        url: linkTo(`/files/${owner}/${encodeURIComponent(name)}?expires=${expires}&signature=${signature}`),
        expiresAt: new Date(expires * 1_000).toISOString(),
      }
    },
  )

  app.get(
    '/files/:id/:name',
    {
      schema: {
        tags: ['artifacts'],
        operationId: 'downloadByLink',
        summary: 'Download a file by a signed link',
        params: ArtifactParams,
        querystring: LinkQuery,
        response: {
          200: Bytes,
          206: Bytes,
          304: NoBody,
          403: Problem,
          404: Problem,
          412: Problem,
          416: Problem,
          429: Problem,
          503: Problem,
        },
      },
    },
    async (request, reply) => {
      const { id, name } = request.params
      const { expires, signature } = request.query
      const isSigned = isEqual(signature, sign(await readSecret(db, 'links'), id, name, expires))
      if (!isSigned || Number(expires) * 1_000 < Date.now())
        throw new ProblemError('link_refused', isSigned ? 'The link has expired.' : 'The signature is invalid.')
      return download(pick(await readLinkedArtifacts(db, id), id, name), request, reply)
    },
  )

  app.post(
    '/api/uploads',
    {
      bodyLimit: MAX_UPLOAD_BYTES,
      schema: {
        tags: ['artifacts'],
        operationId: 'createUpload',
        summary: 'Upload a file for a future task',
        description:
          'The body is the file, of any media type. Put the `upload` of the answer into the payload of a task; the file is kept for a day. ' +
          'While the disk has less than MIN_FREE_DISK_MB free, the answer is 507 and nothing is stored.',
        querystring: UploadQuery,
        response: { 201: Upload, 400: Problem, 408: Problem, 413: Problem, 429: Problem, 503: Problem, 507: Problem },
      },
    },
    async (request, reply) => {
      reply.raw.once('close', limits.enter(request))
      const name = readName(request.query.name)
      const mediaType = readUploadType(request.headers['content-type'])
      const { 'content-length': length } = request.headers
      const declaredBytes = Number(length ?? 0)
      if (declaredBytes > MAX_UPLOAD_BYTES) throw tooLarge()
      await artifacts.assertRoom(declaredBytes).catch(explainFullDisk)
      const upload = createTaskId()
      const reservation = {
        name,
        mediaType,
        ttlMs: UPLOAD_TTL_MS,
        bytes: length === undefined ? MAX_UPLOAD_BYTES : declaredBytes,
        maxBytes: maxUploadsMb * 1_000_000,
      }
      if (!(await reserveUploadIfRoom(request.principal, db, upload, reservation))) throw uploadsFull(maxUploadsMb)
      let received = { bytes: 0, sha256: '' }
      const writer = createArtifactWriter({
        store: artifacts,
        key: { owner: upload, attempt: 0, name },
        async record(written) {
          received = written
          if (!(await finishUploadIfReserved(request.principal, db, upload, { ...written, ttlMs: UPLOAD_TTL_MS })))
            throw new Error(`the upload ${upload} took longer than it is kept`)
        },
      })
      try {
        await pipeline(readUpload(request.raw, MAX_UPLOAD_BYTES, bodies), writer)
      } catch (error) {
        // The rest of a refused upload may still arrive; it is not read.
        reply.header('connection', 'close')
        // If this fails too, the reservation expires like that of any upload.
        await forgetUnfinishedUpload(request.principal, db, upload).catch(() => {})
        throw explainFullDisk(error)
      }
      reply.code(201)
      return { upload, name, mediaType, ...received }
    },
  )

  /** @see RFC 9110 section 13.2.2 for the order in which conditions are evaluated */
  async function download(
    artifact: StoredArtifact,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<Readable | undefined> {
    const { headers } = request
    const { bytes, sha256 } = artifact
    const etag = `"${sha256}"`
    if (headers['if-match'] !== undefined && !hasEtag(headers['if-match'], etag))
      throw new ProblemError('file_changed', `The ETag of the file is now ${etag}.`)
    reply.headers({ 'accept-ranges': 'bytes', etag, ...describeFile(artifact) })
    if (headers['if-none-match'] !== undefined && hasEtag(headers['if-none-match'], etag))
      return reply.code(304).send(undefined)
    const ifRange = headers['if-range']
    const range = ifRange === undefined || ifRange === etag ? readByteRange(headers.range, bytes) : undefined
    if (range === 'unsatisfiable') {
      reply.header('content-range', `bytes */${bytes}`)
      throw new ProblemError('range_not_satisfiable', `The file has ${bytes} bytes.`)
    }
    reply.raw.once('close', limits.enter(request))
    const source = await artifacts.read(artifact, range).catch((error: unknown) => {
      throw error instanceof ArtifactMissingError ? new ProblemError('artifact_not_found', error.message) : error
    })
    if (range === undefined) reply.header('content-length', bytes)
    else
      reply.code(206).headers({
        'content-range': `bytes ${range.start}-${range.end}/${bytes}`,
        'content-length': range.end - range.start + 1,
      })
    return source
  }
}

/** @throws ProblemError `artifact_not_found` */
function pick(found: readonly StoredArtifact[], owner: TaskId, name: string): StoredArtifact {
  const artifact = found.find((one) => one.name === name)
  if (artifact === undefined) throw new ProblemError('artifact_not_found', `Task ${owner} has no artifact ${name}.`)
  return artifact
}

function tooLarge(): ProblemError {
  return new ProblemError('body_too_large', `The file is larger than ${MAX_UPLOAD_BYTES} bytes.`)
}

/** @throws ProblemError if the disk is full, otherwise the error itself */
function explainFullDisk(error: unknown): never {
  throw error instanceof DiskFullError
    ? new ProblemError('disk_full', `The file was not stored: ${error.message}.`)
    : error
}

function uploadsFull(maxUploadsMb: number): ProblemError {
  return new ProblemError(
    'uploads_full',
    `The file was not stored: all uploads together have reached ${maxUploadsMb} MB, or their number has reached ${MAX_UPLOADS}.`,
  )
}

function readName(name = 'upload'): string {
  const wrong = findFileNameError(name)
  if (wrong === undefined) return name
  throw new ProblemError('invalid_request', `The file name is refused: it ${wrong.detail}.`, [
    { pointer: '/name', ...wrong },
  ])
}

function readUploadType(header = DEFAULT_MEDIA_TYPE): string {
  const mediaType = readMediaType(header)
  if (mediaType === undefined) throw noMediaType()
  return mediaType
}

function noMediaType(): ProblemError {
  const wrong = {
    pointer: '/content-type',
    detail: 'is not a media type',
    fix: 'Send the media type of the file, such as image/png, or omit the header.',
  }
  return new ProblemError('invalid_request', 'The header Content-Type is not a media type.', [wrong])
}

function toArtifact({ owner, name, mediaType, bytes, sha256, createdAt }: StoredArtifact): Artifact {
  return {
    name,
    mediaType,
    bytes,
    sha256,
    createdAt: createdAt.toISOString(),
    links: { download: linkTo(`/api/tasks/${owner}/artifacts/${encodeURIComponent(name)}`) },
  }
}

function sign(secret: string, owner: TaskId, name: string, expires: string): string {
  return createHmac('sha256', secret).update(`${owner}\n${name}\n${expires}`).digest('base64url')
}

function isEqual(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))
}
