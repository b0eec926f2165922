/**
 * Smaller copies of an image, as files of the task. Decoding is heavy computation, and decoders may crash, so it runs
 * in a separate process.
 */
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { Type, type Static } from 'typebox'
import { defineTask, type TaskContext } from '../definitions/definition.js'
import { PermanentFailure } from '../definitions/outcome-errors.js'
import { linkTo } from '../protocol/base-path.js'
import { AddressRefusedError, createAddressGuard, type AddressGuard, type GuardOptions } from './address-guard.js'
import { checkUrlText } from './check-url.js'
import { sendGuarded } from './guarded-request.js'

const MAX_SOURCE_BYTES = 32 * 1024 * 1024
const MAX_PIXELS = 100_000_000
const FETCH_TIMEOUT_MS = 30_000
const MEDIA_TYPES = { webp: 'image/webp', jpeg: 'image/jpeg', png: 'image/png', avif: 'image/avif' } as const

const Side = (title: string) => Type.Integer({ minimum: 1, maximum: 8_192, title, description: 'In pixels.' })

const Payload = Type.Object(
  {
    upload: Type.Optional(
      Type.String({
        format: 'uuid',
        title: 'Upload',
        description: 'The id of an upload; cannot be combined with a URL.',
      }),
    ),
    url: Type.Optional(
      Type.String({
        maxLength: 2_000,
        pattern: '^https?://[^\\s]+$',
        title: 'URL',
        description: 'The address of the image.',
      }),
    ),
    widths: Type.Optional(
      Type.Array(Side('Width'), {
        minItems: 1,
        maxItems: 10,
        uniqueItems: true,
        default: [200],
        title: 'Widths',
        description: 'One file for each width; never wider than the image itself.',
      }),
    ),
    format: Type.Optional(
      Type.Enum(['webp', 'jpeg', 'png', 'avif'], {
        default: 'webp',
        title: 'Format',
        description: 'The format of the created files.',
      }),
    ),
    quality: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 100,
        default: 80,
        title: 'Quality',
        description: '100 gives the best quality and the largest files.',
      }),
    ),
  },
  { additionalProperties: false },
)
type Payload = Static<typeof Payload>

const Result = Type.Object({
  source: Type.Object({ width: Type.Integer(), height: Type.Integer(), format: Type.String() }),
  files: Type.Array(
    Type.Object({ name: Type.String(), width: Type.Integer(), height: Type.Integer(), bytes: Type.Integer() }),
  ),
})
type Result = Static<typeof Result>

export function createImageThumbnail(options: GuardOptions) {
  const guard = createAddressGuard(options)
  return defineTask({
    type: 'image.thumbnail',
    title: 'Make thumbnails',
    description: `Resizes an uploaded image (POST ${linkTo('/api/uploads')}) or one at a public URL. Each size becomes a file of the task.`,
    payload: Payload,
    result: Result,
    isolation: 'process',
    memoryLimitMb: 512,
    timeLimits: { hardMs: 120_000 },
    retryOn: (error) => !(error instanceof AddressRefusedError),
    checkPayload({ upload, url }) {
      if (upload === undefined && url === undefined)
        return [{ pointer: '/url', detail: 'is missing, and so is upload', fix: 'Send one of the two.' }]
      if (upload !== undefined && url !== undefined)
        return [{ pointer: '/url', detail: 'cannot be combined with upload', fix: 'Send only one of the two.' }]
      return url === undefined ? [] : checkUrlText(url, '/url', guard)
    },

    async run(payload, context) {
      const { upload, url = '' } = payload
      const source =
        upload === undefined
          ? await fetchImage(url, guard, context.signal)
          : await buffer(await context.readArtifact('image', { upload }))
      return resize(source, payload, context)
    },
  })
}

async function resize(
  source: Buffer,
  { widths = [200], format = 'webp', quality = 80 }: Payload,
  context: TaskContext,
): Promise<Result> {
  // Loaded here, because the other processes do not need it.
  const { default: sharp } = await import('sharp')
  const open = () => sharp(source, { limitInputPixels: MAX_PIXELS, failOn: 'error' })
  const {
    width,
    height,
    format: sourceFormat,
  } = await open()
    .metadata()
    .catch((error: Error) => {
      throw new PermanentFailure(`the file is not a readable image: ${error.message}`)
    })
  const files = []
  for (const [index, wanted] of widths.entries()) {
    context.signal.throwIfAborted()
    const name = `thumbnail-${wanted}.${format}`
    // `rotate` without an angle applies the orientation in the file, which is not kept.
    const made = await open()
      .rotate()
      .resize({ width: wanted, withoutEnlargement: true })
      .toFormat(format, { quality })
      .toBuffer({ resolveWithObject: true })
    await pipeline([made.data], context.artifact(name, { mediaType: MEDIA_TYPES[format] }))
    files.push({ name, width: made.info.width, height: made.info.height, bytes: made.info.size })
    context.progress(index + 1, widths.length, name)
  }
  return { source: { width, height, format: sourceFormat }, files }
}

async function fetchImage(url: string, guard: AddressGuard, signal: AbortSignal): Promise<Buffer> {
  const answer = await sendGuarded(
    {
      method: 'GET',
      url: new URL(url),
      headers: { 'user-agent': 'taskwire', accept: 'image/*' },
      body: null,
      timeoutMs: FETCH_TIMEOUT_MS,
      maxBytes: MAX_SOURCE_BYTES,
      isWanted: () => false,
    },
    guard,
    signal,
  )
  if (answer.status >= 500 || answer.status === 429)
    throw new Error(`the server of the image answered ${answer.status}`)
  if (answer.status !== 200)
    throw new PermanentFailure(`there is no image at this url: its server answered ${answer.status}`)
  if (answer.truncated) throw new PermanentFailure(`the image has more than ${MAX_SOURCE_BYTES} bytes`)
  return answer.bytes
}
