/**
 * A WebSocket as the sink of streams.
 *
 * One message goes to many sockets in a row, so its frame is built once and written unchanged: per socket that leaves
 * one write of one buffer. This bypasses the sender of `ws`, which would add nothing: compression is off, a server does
 * not mask, and pings and the closing handshake use the same connection in the order of the calls.
 */
import type { Socket } from 'node:net'
import type { WebSocket } from '@fastify/websocket'
import type { Sink } from '../../live/hub.js'
import type { ListSink } from '../../live/list-stream.js'
import { LOW_WATER_BYTES } from '../../live/task-stream.js'

/** The first byte of a text message in one frame: FIN and opcode 1 (RFC 6455, section 5.2). */
const TEXT_IN_ONE_FRAME = 0x81

let lastJson = ''
let lastFrame: Buffer = Buffer.alloc(0)
function toFrameBytes(json: string): Buffer {
  if (json !== lastJson) {
    lastJson = json
    lastFrame = frameText(json)
  }
  return lastFrame
}

/** @see RFC 6455, section 5.2: 7, 7+16 or 7+64 bits of length; a server does not mask */
function frameText(text: string): Buffer {
  const length = Buffer.byteLength(text)
  const headLength = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const frame = Buffer.allocUnsafeSlow(headLength + length)
  frame[0] = TEXT_IN_ONE_FRAME
  if (headLength === 2) frame[1] = length
  else if (headLength === 4) {
    frame[1] = 126
    frame.writeUInt16BE(length, 2)
  } else {
    frame[1] = 127
    frame.writeBigUInt64BE(BigInt(length), 2)
  }
  frame.write(text, headLength)
  return frame
}

/**
 * @param connection the connection below the socket
 * @param onDrained called when a socket that held something back has room again; never during a `send`
 */
export function createSocketSink(socket: WebSocket, connection: Socket, onDrained: () => void): Sink & ListSink {
  const onSent = () => {
    if (connection.writableLength < LOW_WATER_BYTES) onDrained()
  }
  function send(json: string): void {
    if (socket.readyState !== socket.OPEN) return
    const frame = toFrameBytes(json)
    const isHeldBack = connection.writableLength > 0 || frame.length >= LOW_WATER_BYTES
    if (isHeldBack) connection.write(frame, onSent)
    else connection.write(frame)
  }

  return {
    send,
    sendList: send,
    bufferedBytes: () => connection.writableLength,
    close: (code, reason) => socket.close(code, reason),
  }
}
