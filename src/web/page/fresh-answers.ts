/**
 * Answers that a browser stores and revalidates before each use: the page, its scripts and the documents. Without this,
 * browsers guess how long a file stays fresh (RFC 9111, section 4.2.2), and keep running the old scripts for days after
 * an upgrade.
 *
 * The entity tag is a hash of the content, not of its time and size: package managers and image builds give all files
 * the same time. It is strong, so each content coding has its own (RFC 9110, section 8.8.3.3). Ranges are not served:
 * the files are small.
 */
import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Negotiator from 'negotiator'
import { hasEtag } from '../etag.js'

const CODINGS = ['br', 'gzip'] as const
type Coding = (typeof CODINGS)[number]

/** Compressing a smaller answer saves no packet. */
const MIN_COMPRESSED_BYTES = 1_000
/** The maximum number of cached compressed answers: all that exist, with room for the documents of several hosts. */
const MAX_KEPT = 200
const COMPRESSIBLE = /^(?:text\/|application\/(?:javascript|json|x-yaml)|image\/svg\+xml)/

const compress: Record<Coding, (content: Buffer) => Promise<Buffer>> = {
  // The best quality takes seconds for a large file and saves little more.
  br: (content) =>
    promisify(brotliCompress)(content, {
      params: { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: content.length },
    }),
  gzip: (content) => promisify(gzip)(content, { level: 9 }),
}

/**
 * Makes browsers store and revalidate the 200 answers of the routes of `scope`, unless an answer says otherwise, and
 * compresses them.
 */
export function keepAnswersFresh(scope: FastifyInstance): void {
  const hashes = new WeakMap<Buffer, string>()
  const kept = new Map<string, Promise<Buffer>>()

  const hashOnce = (content: Buffer) => {
    const hash = hashes.get(content) ?? createHash('sha256').update(content).digest('base64url').slice(0, 22)
    hashes.set(content, hash)
    return hash
  }
  const compressOnce = (etag: string, coding: Coding, content: Buffer) => {
    const compressed = kept.get(etag) ?? compress[coding](content)
    kept.delete(etag)
    kept.set(etag, compressed)
    const [oldest] = kept.keys()
    if (kept.size > MAX_KEPT && oldest !== undefined) kept.delete(oldest)
    return compressed
  }

  scope.addHook('onSend', async (request, reply, payload) => {
    if (reply.statusCode !== 200 || !(typeof payload === 'string' || Buffer.isBuffer(payload))) return payload
    const content = typeof payload === 'string' ? Buffer.from(payload) : payload
    const isCompressible =
      content.length >= MIN_COMPRESSED_BYTES && COMPRESSIBLE.test(String(reply.getHeader('content-type')))
    const coding = isCompressible ? chooseCoding(request.headers['accept-encoding']) : undefined
    const etag = `"${hashOnce(content)}${coding === undefined ? '' : `-${coding}`}"`
    reply.removeHeader('content-length')
    void reply.headers({ 'cache-control': reply.getHeader('cache-control') ?? 'no-cache', etag })
    if (isCompressible) addVary(reply)
    const isKnown = isHeld(request, etag)
    if (isKnown) void reply.code(304)
    // The server framework computes the length that HEAD would have sent.
    if (isKnown && request.method !== 'HEAD') return null
    if (coding === undefined) return content
    void reply.header('content-encoding', coding)
    return compressOnce(etag, coding, content)
  })
}

function isHeld({ headers }: FastifyRequest, etag: string): boolean {
  return headers['if-none-match'] !== undefined && hasEtag(headers['if-none-match'], etag)
}

function addVary(reply: FastifyReply): void {
  const vary = [reply.getHeader('vary') ?? []].flat().join(', ')
  if (!/accept-encoding/i.test(vary)) void reply.header('vary', [vary, 'Accept-Encoding'].filter(Boolean).join(', '))
}

/** The types of the package are of an earlier version, without a preference of the server. */
const chooseEncoding: (
  this: Negotiator,
  available: readonly string[],
  options: { preferred: readonly string[] },
) => string | undefined = Negotiator.prototype.encoding

/**
 * The client's preferred coding; brotli if it has no preference, undefined for none.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3
 */
export function chooseCoding(accepted = ''): Coding | undefined {
  const best = chooseEncoding.call(new Negotiator({ headers: { 'accept-encoding': accepted } }), CODINGS, {
    preferred: CODINGS,
  })
  return CODINGS.find((coding) => coding === best)
}
