/** The media types of files. They are parsed once, on arrival, and stored in one form that is safe in a header. */
import { format, parse } from 'content-type'

/** For files without a media type. */
export const DEFAULT_MEDIA_TYPE = 'application/octet-stream'
/** Both halves of a registered name have at most 127 characters (RFC 6838, section 4.2); the rest is for parameters. */
const MAX_LENGTH = 400

/**
 * The canonical form: type and parameter names in lower case, values quoted where necessary.
 * @returns undefined when it is not a media type (a range such as `image/*` is none), is too long, or has characters
 *   that a header cannot hold
 * @see RFC 9110 section 8.3.1
 */
export function readMediaType(text: string): string | undefined {
  if (text.length > MAX_LENGTH || !/^[\t\x20-\x7E]*$/.test(text) || /^[^;]*\*/.test(text)) return undefined
  try {
    // Parsing is lenient and formatting strict: what cannot be formatted was not a media type.
    return format(parse(text))
  } catch {
    return undefined
  }
}

/** The media type without its parameters, e.g. `text/html`. */
export function essenceOf(mediaType: string): string {
  return parse(mediaType, { parameters: false }).type
}
