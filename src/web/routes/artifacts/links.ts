/** Signed links to files: anyone who has one can read the file until it expires. */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Database } from '../../../db/database.js'
import { ArtifactParams, CreateLink, Link, LinkQuery } from '../../../protocol/artifact.js'
import { linkTo } from '../../../protocol/base-path.js'
import { Problem } from '../../../protocol/errors.js'
import type { TaskId } from '../../../protocol/task.js'
import { readArtifacts, readLinkedArtifacts } from '../../../store/artifacts.js'
import { readSecret } from '../../../store/secrets.js'
import { ProblemError } from '../../problem.js'
import { ARTIFACT_ANSWERS, pickArtifact, sendArtifact, type SendArtifactDeps } from './send-artifact.js'

const DEFAULT_LINK_SECONDS = 3_600

export interface LinkDeps extends SendArtifactDeps {
  db: Database
}

export const linkRoutes: FastifyPluginAsyncTypebox<LinkDeps> = async (app, { db, artifacts, limits }) => {
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
      const id = request.params.id.toLowerCase()
      const found = await readArtifacts(request.principal, db, id)
      const { owner, name } = pickArtifact(found, id, request.params.name)
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
        response: { ...ARTIFACT_ANSWERS, 403: Problem },
      },
    },
    async (request, reply) => {
      const { id, name } = request.params
      const { expires, signature } = request.query
      const isSigned = isEqual(signature, sign(await readSecret(db, 'links'), id, name, expires))
      if (!isSigned || Number(expires) * 1_000 < Date.now())
        throw new ProblemError('link_refused', isSigned ? 'The link has expired.' : 'The signature is invalid.')
      return sendArtifact(pickArtifact(await readLinkedArtifacts(db, id), id, name), { artifacts, limits }, reply)
    },
  )
}

function sign(secret: string, owner: TaskId, name: string, expires: string): string {
  return createHmac('sha256', secret).update(`${owner}\n${name}\n${expires}`).digest('base64url')
}

function isEqual(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))
}
