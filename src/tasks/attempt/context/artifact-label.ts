/** Checks the name and media type of a file as soon as a handler names it. */
import { DEFAULT_MEDIA_TYPE, readMediaType } from '../../../artifacts/media-type.js'
import { findFileNameError } from '../../../protocol/file-name.js'

/** @returns the media type as stored @throws RangeError that says what is wrong */
export function checkArtifactLabel(name: string, mediaType = DEFAULT_MEDIA_TYPE): string {
  if (typeof name !== 'string') throw new RangeError('the name of an artifact must be a string')
  if (typeof mediaType !== 'string') throw new RangeError(`the media type of ${name} must be a string`)
  const wrong = findFileNameError(name)
  if (wrong !== undefined)
    throw new RangeError(`the artifact name ${JSON.stringify(name)} is refused: it ${wrong.detail}. ${wrong.fix}`)
  const read = readMediaType(mediaType)
  if (read === undefined)
    throw new RangeError(
      `the media type ${JSON.stringify(mediaType)} of ${name} is refused: it must look like text/csv or text/plain; charset=utf-8`,
    )
  return read
}
