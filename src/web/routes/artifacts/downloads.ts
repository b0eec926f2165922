/** The files of a task: the list, and each of them. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Database } from '../../../db/database.js'
import { ArtifactList, ArtifactParams, type Artifact } from '../../../protocol/artifact.js'
import { linkTo } from '../../../protocol/base-path.js'
import { Problem } from '../../../protocol/errors.js'
import { TaskParams } from '../../../protocol/queries.js'
import { readArtifacts, type StoredArtifact } from '../../../store/artifacts.js'
import { readTasks } from '../../../store/reads/tasks.js'
import { toNotFound } from '../../task-reader.js'
import { ARTIFACT_ANSWERS, pickArtifact, sendArtifact, type SendArtifactDeps } from './send-artifact.js'

export interface DownloadDeps extends SendArtifactDeps {
  db: Database
}

export const downloadRoutes: FastifyPluginAsyncTypebox<DownloadDeps> = async (app, { db, artifacts, limits }) => {
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
      if (task === undefined) throw toNotFound(id)
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
        response: ARTIFACT_ANSWERS,
      },
    },
    async ({ principal, params }, reply) => {
      const id = params.id.toLowerCase()
      const artifact = pickArtifact(await readArtifacts(principal, db, id), id, params.name)
      return sendArtifact(artifact, { artifacts, limits }, reply)
    },
  )
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
