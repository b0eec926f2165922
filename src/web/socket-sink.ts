/** A WebSocket as the sink of streams. */
import type { WebSocket } from '@fastify/websocket'
import type { Sink } from '../live/hub.js'
import { LOW_WATER_BYTES } from '../live/task-stream.js'

const TEXT = { binary: false }

/** One message goes to many sockets in a row: its bytes are made once. */
let lastJson = ''
let lastBytes = Buffer.alloc(0)
function toBytes(json: string): Buffer {
  if (json !== lastJson) {
    lastJson = json
    lastBytes = Buffer.from(json)
  }
  return lastBytes
}

/** @param onDrained called when a socket that held something back has room again; never in the turn of a `send` */
export function createSocketSink(socket: WebSocket, onDrained: () => void): Sink {
  // ws has no `drain` event, but says when each frame was handed to the network.
  const onSent = () => {
    if (socket.bufferedAmount < LOW_WATER_BYTES) onDrained()
  }
  return {
    send(json) {
      const bytes = toBytes(json)
      const isHeldBack = socket.bufferedAmount > 0 || bytes.length >= LOW_WATER_BYTES
      if (isHeldBack) socket.send(bytes, TEXT, onSent)
      else socket.send(bytes, TEXT)
    },
    bufferedBytes: () => socket.bufferedAmount,
    close: (code, reason) => socket.close(code, reason),
  }
}
