/**
 * A watcher that follows the rules for clients: it stops at close codes 1000 and 4500 to 4999, and otherwise reconnects
 * with `since`. It also reconnects after too long a silence.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { shouldReconnect, type StreamMessage } from '../../src/protocol/stream.js'
import { readFrame } from './frame-check.js'

export interface PersistentWatcher {
  /** The messages of all connections, without progress. */
  readonly messages: StreamMessage[]
  /** Resolves with the close code that told it to stop. */
  readonly ended: Promise<number>
  readonly connections: number
}

const PAUSE_MS = 50

/**
 * @param address the address to connect to, called anew for each connection
 * @param silenceMs how long the server may stay silent; forever by default
 */
export function persist(address: () => string, path: string, silenceMs = Infinity): PersistentWatcher {
  const messages: StreamMessage[] = []
  let connections = 0
  let version: number | undefined

  function connectOnce(): Promise<number> {
    connections += 1
    const query = version === undefined ? '' : `?since=${version}`
    const socket = new WebSocket(address().replace(/^http/, 'ws') + path + query, { handshakeTimeout: 10_000 })
    const isMeasured = Number.isFinite(silenceMs)
    const silence = isMeasured ? setTimeout(() => socket.terminate(), silenceMs) : undefined
    socket.on('close', () => clearTimeout(silence))
    socket.on('message', (data: Buffer) => {
      silence?.refresh()
      const message = readFrame(data.toString())
      if (message.type === 'progress' || message.type === 'heartbeat') return
      messages.push(message)
      version = message.version
    })
    return new Promise((resolve) => {
      socket.on('error', () => {})
      socket.on('close', resolve)
    })
  }

  async function run(): Promise<number> {
    for (;;) {
      const code = await connectOnce()
      if (!shouldReconnect(code)) return code
      await sleep(PAUSE_MS * (0.5 + Math.random()))
    }
  }

  return {
    messages,
    ended: run(),
    get connections() {
      return connections
    },
  }
}
