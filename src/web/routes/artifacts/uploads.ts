/** Files that clients upload for future tasks. */
import { pipeline } from 'node:stream/promises'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ArtifactStore } from '../../../artifacts/artifact-store.js'
import { DiskFullError } from '../../../artifacts/disk-floor.js'
import { DEFAULT_MEDIA_TYPE, essenceOf, readMediaType } from '../../../artifacts/media-type.js'
import type { Database } from '../../../db/database.js'
import { Upload, UploadQuery } from '../../../protocol/artifact.js'
import { Problem } from '../../../protocol/errors.js'
import { findFileNameError } from '../../../protocol/file-name.js'
import type { TaskId } from '../../../protocol/task.js'
import {
  finishUploadIfReserved,
  forgetUnfinishedUpload,
  MAX_UPLOADS,
  reserveUploadIfRoom,
} from '../../../store/artifacts.js'
import { createArtifactWriter, type WrittenArtifact } from '../../../tasks/attempt/context/artifact-writer.js'
import { createTaskId } from '../../../tasks/create/task-id.js'
import type { Bodies } from '../../bodies/body-budget.js'
import { readUpload } from '../../bodies/read-upload.js'
import type { StreamLimits } from '../../live/stream-limits.js'
import { ProblemError } from '../../problem.js'

/** The largest file that a client may upload, in bytes. */
const MAX_UPLOAD_BYTES = 256 * 1024 * 1024
/** How long an upload is kept for a task that uses it. */
const UPLOAD_TTL_MS = 24 * 3_600_000

export interface UploadDeps {
  db: Database
  artifacts: ArtifactStore
  limits: StreamLimits
  bodies: Bodies
  /** The maximum size of all uploads together, in MB. */
  maxUploadsMb: number
}

export const uploadRoutes: FastifyPluginAsyncTypebox<UploadDeps> = async (app, deps) => {
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
        response: {
          201: Upload,
          400: Problem,
          408: Problem,
          413: Problem,
          415: Problem,
          429: Problem,
          503: Problem,
          507: Problem,
        },
      },
    },
    async (request, reply) => {
      reply.raw.once('close', deps.limits.enter(request))
      const name = readName(request.query.name)
      const mediaType = readUploadType(request.headers['content-type'])
      const upload = await reserve({ name, mediaType }, request, deps)
      const written = await receive(upload, name, reply, deps)
      reply.code(201)
      return { upload, name, mediaType, ...written }
    },
  )
}

/** Reserves room for the file that the request sends. @throws ProblemError */
async function reserve(
  file: { name: string; mediaType: string },
  { headers, principal }: FastifyRequest,
  { db, artifacts, maxUploadsMb }: UploadDeps,
): Promise<TaskId> {
  const { 'content-length': length } = headers
  const declaredBytes = Number(length ?? 0)
  if (declaredBytes > MAX_UPLOAD_BYTES) throw tooLarge()
  await artifacts.assertRoom(declaredBytes).catch(explainFullDisk)
  const upload = createTaskId()
  const reservation = {
    ...file,
    ttlMs: UPLOAD_TTL_MS,
    bytes: length === undefined ? MAX_UPLOAD_BYTES : declaredBytes,
    maxBytes: maxUploadsMb * 1_000_000,
  }
  if (!(await reserveUploadIfRoom(principal, db, upload, reservation))) throw uploadsFull(maxUploadsMb)
  return upload
}

/** Stores the body of the request. If that fails, nothing is left of the upload. @throws ProblemError */
async function receive(
  upload: TaskId,
  name: string,
  reply: FastifyReply,
  { db, artifacts, bodies }: UploadDeps,
): Promise<WrittenArtifact> {
  const { principal, raw } = reply.request
  let received: WrittenArtifact = { bytes: 0, sha256: '' }
  const writer = createArtifactWriter({
    store: artifacts,
    key: { owner: upload, attempt: 0, name },
    async record(written) {
      received = written
      if (!(await finishUploadIfReserved(principal, db, upload, { ...written, ttlMs: UPLOAD_TTL_MS })))
        throw new Error(`the upload ${upload} took longer than it is kept`)
    },
  })
  try {
    await pipeline(readUpload(raw, MAX_UPLOAD_BYTES, bodies), writer)
  } catch (error) {
    // The rest of a refused upload may still arrive; it is not read.
    reply.header('connection', 'close')
    // If this fails too, the reservation expires like that of any upload.
    await forgetUnfinishedUpload(principal, db, upload).catch(() => {})
    throw explainFullDisk(error)
  }
  return received
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
  if (essenceOf(mediaType) !== 'multipart/form-data') return mediaType
  const detail = 'The body is a form, and would be stored with its boundaries.'
  throw new ProblemError('unsupported_media_type', detail, [
    {
      pointer: '/content-type',
      detail: 'is that of a form',
      fix: 'Send the file itself as the body: curl --data-binary @file, or fetch with the file as its body.',
    },
  ])
}

/** The header Content-Type of an upload has no media type. */
export function noMediaType(): ProblemError {
  const wrong = {
    pointer: '/content-type',
    detail: 'is not a media type',
    fix: 'Send the media type of the file, such as image/png, or omit the header.',
  }
  return new ProblemError('invalid_request', 'The header Content-Type is not a media type.', [wrong])
}
