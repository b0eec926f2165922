/** The answers to bytes that Node's parser does not accept as an HTTP request. */
import type { ProblemCode } from '../../protocol/errors.js'

/** As in `clientError`: the code of the parser, and its reason in words. */
export interface ClientError extends Error {
  code?: string
  reason?: unknown
  rawPacket?: unknown
}

const CODES: Readonly<Record<string, ProblemCode>> = {
  HPE_HEADER_OVERFLOW: 'head_too_large',
  HPE_INVALID_URL: 'malformed_url',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'body_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
}
const DETAILS: Partial<Record<ProblemCode, string>> = {
  head_too_large: 'The address and the headers are larger than the server accepts.',
  malformed_url: 'The address has invalid bytes, such as letters that are not ASCII.',
  body_too_large: 'The chunks of the body have too many extensions.',
  request_timeout: 'The request did not arrive in time.',
}
/** The first byte of a TLS handshake. */
const TLS_HANDSHAKE = 0x16

/**
 * The answer as a problem: code and detail. Undefined if the connection itself has failed, so that no answer is
 * possible.
 */
export function describeRefusal({
  code = '',
  reason,
  rawPacket,
}: ClientError): { code: ProblemCode; detail: string } | undefined {
  const known = CODES[code]
  if (known !== undefined) return { code: known, detail: DETAILS[known] ?? '' }
  if (!code.startsWith('HPE_')) return undefined
  if (rawPacket instanceof Uint8Array && rawPacket[0] === TLS_HANDSHAKE)
    return {
      code: 'malformed_request',
      detail: 'These bytes are TLS, but this port uses plain HTTP: use http:// or the address of the proxy.',
    }
  return {
    code: 'malformed_request',
    detail: `The bytes are not an HTTP request: ${typeof reason === 'string' && reason !== '' ? reason : code}.`,
  }
}
