/**
 * The headers with which a stored file is sent to a browser. Its bytes and its media type come from strangers, and it
 * is served from the origin of the page: nothing in it may run there, however it is requested and whatever type it
 * claims.
 *
 * - A short list of types may be shown. Everything else is downloaded.
 * - Anything a browser could run or apply (scripts, style sheets, SVG, XML) is sent as bytes without a type: with
 *   `nosniff`, no element of a page accepts those as a script, a module, a worker, a style sheet or a document.
 * - HTML is shown in a sandbox without scripts, in an origin of its own.
 * - Pages of other origins cannot embed any of it (Cross-Origin-Resource-Policy).
 * @see https://fetch.spec.whatwg.org/#x-content-type-options-header and https://html.spec.whatwg.org/#sandboxing
 */
import { create } from 'content-disposition'
import { DEFAULT_MEDIA_TYPE, essenceOf, readMediaType } from '../artifacts/media-type.js'

/** Shown but never run by browsers. HTML is the exception; the sandbox is for it. */
const SHOWN = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif', 'text/plain', 'text/html'])
/** Downloaded with their own type: programs need it, and browsers do not run them. */
const DOWNLOADED = new Set([
  'text/csv',
  'application/json',
  'application/x-ndjson',
  'application/pdf',
  'application/zip',
  'application/gzip',
])

const POLICY = [
  "default-src 'none'",
  "style-src 'unsafe-inline'",
  'img-src data:',
  "form-action 'none'",
  "frame-ancestors 'none'",
  'sandbox',
].join('; ')

export function describeFile({ name, mediaType }: { name: string; mediaType: string }): Record<string, string> {
  // Rows of an earlier version may contain any text.
  const known = readMediaType(mediaType) ?? DEFAULT_MEDIA_TYPE
  const essence = essenceOf(known)
  const isShown = SHOWN.has(essence)
  return {
    'content-type': isShown || DOWNLOADED.has(essence) ? known : DEFAULT_MEDIA_TYPE,
    'content-disposition': create(name, {
      type: isShown ? 'inline' : 'attachment',
      fallback: name.replaceAll(/[^\x20-\x7E]/gu, '_'),
    }),
    'content-security-policy': POLICY,
    'referrer-policy': 'no-referrer',
    'cache-control': 'private, max-age=0, must-revalidate',
  }
}
