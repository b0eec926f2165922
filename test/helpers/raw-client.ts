/**
 * A client that sends bytes as no proper client would: partial requests, single bytes, many requests at once, or
 * without reading the responses.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface RawClient {
  readonly socket: Socket
  /** Everything received so far. */
  said(): string
  send(text: string | Buffer): void
  /** Sends the text byte by byte, over and over, until the connection is closed. */
  trickle(text: string, everyMs?: number): void
  /** Resolves once the received text matches. */
  heard(pattern: RegExp): Promise<RegExpMatchArray>
  /** Resolves with everything received once the connection is closed. */
  readonly closed: Promise<string>
}

/** Opens a connection; it ends with the test. */
export async function openRaw(t: { teardown(action: () => unknown): unknown }, address: string): Promise<RawClient> {
  const { hostname, port } = new URL(address)
  const socket = connect({ host: hostname, port: Number(port) })
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  let said = ''
  const closed = new Promise<string>((resolve) => socket.once('close', () => resolve(said)))
  // Collects text for comparisons. Tests of large responses read them without a listener like this.
  socket.on('data', (data: Buffer) => (said += data.toString('latin1')))
  return {
    socket,
    closed,
    said: () => said,
    send: (text) => void socket.write(text),
    trickle(text, everyMs = 20) {
      let place = 0
      const timer = setInterval(() => socket.write(text[place++ % text.length] ?? ''), everyMs)
      socket.once('close', () => clearInterval(timer))
    },
    async heard(pattern) {
      for (;;) {
        const match = said.match(pattern)
        if (match !== null) return match
        if (socket.destroyed) throw new Error(`closed before ${pattern} in:\n${said.slice(0, 2_000)}`)
        await sleep(5)
      }
    },
  }
}

/** A request as text. */
export function requestText(line: string, fields: Record<string, string | number> = {}, body = ''): string {
  const lines = Object.entries({ host: 'localhost', ...fields }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${line} HTTP/1.1\r\n${lines.join('')}\r\n${body}`
}

/** A create request as text; `announcedBytes` is the Content-Length that it declares. */
export function createText(body: object, announcedBytes?: number): string {
  const text = JSON.stringify(body)
  return requestText(
    'POST /api/tasks',
    { 'content-type': 'application/json', 'content-length': announcedBytes ?? Buffer.byteLength(text) },
    text,
  )
}

/**
 * Polls until the condition holds, for states that are only visible from outside. The time limit of the test ends it.
 */
export async function waitUntil(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(10)
}
