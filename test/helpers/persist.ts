/**
 * A watcher that keeps the rules for clients: 1000 and 4500-4999 mean stop, all else means come back with `since`; and so does a silence that
 * is too long.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { shouldReconnect, type StreamMessage } from '../../src/protocol/stream.js'
import { readFrame } from './frame-check.js'

export interface PersistentWatcher {
  /** What all connections said together, without progress. */
  readonly messages: StreamMessage[]
  /** Resolves with the code that told it to stop. */
  readonly ended: Promise<number>
  readonly connections: number
}

const PAUSE_MS = 50

/**
 * @param address where to connect, asked anew for each connection
 * @param silenceMs how long the server may say nothing; for ever by default
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
