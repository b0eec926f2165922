/** A client that sends bytes as no proper client would: partial, one by one, many at once, or without reading. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface RawClient {
  readonly socket: Socket
  /** All that was received. */
  said(): string
  send(text: string | Buffer): void
  /** Sends a byte every now and then until the connection is gone. */
  trickle(text: string, everyMs?: number): void
  /** Resolves once what was received matches. */
  heard(pattern: RegExp): Promise<RegExpMatchArray>
  /** Resolves once the connection is over, with all that was received. */
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
  // In text that is compared; what is large is read without a listener for it.
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

/** A create as text; `announcedBytes` is how many bytes of body it promises. */
export function createText(body: object, announcedBytes?: number): string {
  const text = JSON.stringify(body)
  return requestText(
    'POST /api/tasks',
    { 'content-type': 'application/json', 'content-length': announcedBytes ?? Buffer.byteLength(text) },
    text,
  )
}

/** Polls until this holds: for what is only seen from outside. The time limit of the test ends it. */
export async function waitUntil(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(10)
}
