/** Requests as raw bytes, which no HTTP client would send. */
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'

export interface RawAnswer {
  status: number
  /** The whole head, in lower case. */
  head: string
  body: string
}

/**
 * Sends the lines and an empty one, and reads the first response until the server ends the connection. Rejects if the
 * server does not end it within two minutes.
 */
export async function sendRaw(
  address: string,
  lines: readonly string[],
  { body = '', localAddress }: { body?: string; localAddress?: string } = {},
): Promise<RawAnswer> {
  const { hostname, port } = new URL(address)
  const socket = connect({ host: hostname, port: Number(port), ...(localAddress && { localAddress }) })
  socket.setTimeout(120_000, () => socket.destroy(new Error('the connection is still open')))
  socket.write([...lines, '', body].join('\r\n'))
  const answer = await text(socket)
  const end = answer.indexOf('\r\n\r\n')
  const head = answer.slice(0, end)
  return {
    status: Number(/^HTTP\/1\.\d (\d+)/.exec(head)?.[1]),
    head: head.toLowerCase(),
    body: unchunk(head, answer.slice(end + 4)),
  }
}

function unchunk(head: string, body: string): string {
  return /transfer-encoding: chunked/i.test(head)
    ? body.replace(/(^|\r\n)[0-9a-f]+\r\n/gi, '').replace(/\r\n$/, '')
    : body
}
