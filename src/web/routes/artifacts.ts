/** Files of tasks: list, download with ranges, signed links, uploads. */
import type { FastifyError, FastifyPluginAsync } from 'fastify'
import { answerProblem } from '../problem.js'
import { downloadRoutes, type DownloadDeps } from './artifacts/downloads.js'
import { linkRoutes, type LinkDeps } from './artifacts/links.js'
import { noMediaType, uploadRoutes, type UploadDeps } from './artifacts/uploads.js'

export type ArtifactDeps = DownloadDeps & LinkDeps & UploadDeps

export const artifactRoutes: FastifyPluginAsync<ArtifactDeps> = async (app, deps) => {
  // Accepts any content type as a stream; JSON and text are files here too.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
  app.setErrorHandler((error: FastifyError, request, reply) => {
    answerProblem(error.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE' ? noMediaType() : error, request, reply)
  })
  await app.register(downloadRoutes, deps)
  await app.register(linkRoutes, deps)
  await app.register(uploadRoutes, deps)
}
