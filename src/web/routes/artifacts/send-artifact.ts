/** A file as an answer, whole or in part, after the conditions of the request. */
import type { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import { Type } from 'typebox'
import { ArtifactMissingError, type ArtifactStore } from '../../../artifacts/artifact-store.js'
import { Problem } from '../../../protocol/errors.js'
import { NoBody } from '../../../protocol/http.js'
import type { TaskId } from '../../../protocol/task.js'
import type { StoredArtifact } from '../../../store/artifacts.js'
import { readByteRange } from '../../byte-range.js'
import { hasEtag } from '../../etag.js'
import { describeFile } from '../../file-headers.js'
import type { StreamLimits } from '../../live/stream-limits.js'
import { ProblemError } from '../../problem.js'

export interface SendArtifactDeps {
  artifacts: ArtifactStore
  limits: StreamLimits
}

const Bytes = Type.Unsafe<Readable>({ type: 'string', format: 'binary' })

/** The possible answers of `sendArtifact`. */
export const ARTIFACT_ANSWERS = {
  200: Bytes,
  206: Bytes,
  304: NoBody,
  404: Problem,
  412: Problem,
  416: Problem,
  429: Problem,
  503: Problem,
}

/** @throws ProblemError `artifact_not_found` */
export function pickArtifact(found: readonly StoredArtifact[], owner: TaskId, name: string): StoredArtifact {
  const artifact = found.find((one) => one.name === name)
  if (artifact === undefined) throw new ProblemError('artifact_not_found', `Task ${owner} has no artifact ${name}.`)
  return artifact
}

/**
 * Answers with the file or a part of it.
 * @throws ProblemError
 * @see RFC 9110 section 13.2.2 for the order in which conditions are evaluated
 */
export async function sendArtifact(
  artifact: StoredArtifact,
  { artifacts, limits }: SendArtifactDeps,
  reply: FastifyReply,
): Promise<Readable | undefined> {
  const { request } = reply
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
