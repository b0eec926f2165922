/** The media types of files: read once, where they come in, and stored in one form that is safe in a header. */
import { format, parse } from 'content-type'

/** Of a file that does not say. */
export const DEFAULT_MEDIA_TYPE = 'application/octet-stream'
/** Both halves of a registered name have at most 127 characters (RFC 6838, section 4.2); the rest is for parameters. */
const MAX_LENGTH = 400

/**
 * The canonical form: type and names of parameters in lower case, values quoted where they must be.
 * @returns undefined when it is no media type, is too long, or has characters that a header cannot hold
 * @see RFC 9110 section 8.3.1
 */
export function readMediaType(text: string): string | undefined {
  if (text.length > MAX_LENGTH || !/^[\t\x20-\x7E]*$/.test(text)) return undefined
  try {
    // Reading is lenient, writing is strict: what cannot be written was no media type.
    return format(parse(text))
  } catch {
    return undefined
  }
}

/** Without its parameters, e.g. `text/html`. */
export function essenceOf(mediaType: string): string {
  return parse(mediaType, { parameters: false }).type
}
