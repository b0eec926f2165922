/** Files that tasks produce. */
import { Type, type Static } from 'typebox'
import { MAX_FILE_NAME_BYTES } from './file-name.js'
import { Instant, TaskId } from './task.js'

/** Checked where files are received: see `file-name.ts`. */
const ArtifactName = Type.String({
  minLength: 1,
  maxLength: MAX_FILE_NAME_BYTES,
  description: `any Unicode of at most ${MAX_FILE_NAME_BYTES} bytes, without slashes, control characters or names that Windows reserves`,
  examples: ['report.html'],
})
export type ArtifactName = Static<typeof ArtifactName>

export const Artifact = Type.Object(
  {
    name: ArtifactName,
    mediaType: Type.String({ examples: ['text/csv'] }),
    bytes: Type.Integer({ minimum: 0 }),
    sha256: Type.String({ pattern: '^[0-9a-f]{64}$', description: 'of the content, in hexadecimal' }),
    createdAt: Instant,
    links: Type.Object({ download: Type.String() }),
  },
  { additionalProperties: false },
)
export type Artifact = Static<typeof Artifact>
export const ArtifactList = Type.Object({ items: Type.Array(Artifact) })
export type ArtifactList = Static<typeof ArtifactList>

export const ArtifactParams = Type.Object({ id: TaskId, name: ArtifactName })

/** The longest lifetime of a signed link, in seconds: 30 days. */
const MAX_LINK_SECONDS = 30 * 86_400

export const CreateLink = Type.Object(
  { expiresInSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_LINK_SECONDS, default: 3_600 })) },
  { additionalProperties: false },
)
export const Link = Type.Object({
  url: Type.String({ description: 'a path on this server that anyone may read until it expires' }),
  expiresAt: Instant,
})
export type Link = Static<typeof Link>

export const LinkQuery = Type.Object(
  {
    expires: Type.String({ pattern: '^[0-9]{1,12}$', description: 'seconds since 1970', examples: ['1790000000'] }),
    signature: Type.String({
      pattern: '^[A-Za-z0-9_-]{43}$',
      examples: ['v4vYDLvUn2ZVdO0cKBfzvEyWmnNcjBhP5gDzaeFxLhc'],
    }),
  },
  { additionalProperties: false },
)

/** An uploaded file, to be named in the payload of a task. */
export const Upload = Type.Object({
  upload: TaskId,
  name: ArtifactName,
  mediaType: Type.String(),
  bytes: Type.Integer(),
  sha256: Type.String(),
})
export type Upload = Static<typeof Upload>
export const UploadQuery = Type.Object(
  { name: Type.Optional({ ...ArtifactName, default: 'upload' }) },
  { additionalProperties: false },
)
