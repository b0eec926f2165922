/**
 * `/ws/tasks/:id`: a stream of the hub over a WebSocket.
 *
 * What can be refused is refused before the upgrade, as problem+json. Listeners are attached in the same turn in which
 * the socket opens, or messages would be lost. One timer pings all sockets. When the application closes, every watcher is
 * told to reconnect (1012, with a hint when) before the server goes.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import websocket, { type WebSocket } from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { TaskParams } from '../protocol/http.js'
import { CLOSE_CODES } from '../protocol/stream.js'
import type { AttachedStream, Hub } from '../live/hub.js'
import { ProblemError } from './problem.js'

const StreamQuery = Type.Object(
  { since: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1, description: 'the last version the client has' })) },
  { additionalProperties: false },
)
type StreamRoute = { Params: TaskParams; Querystring: Type.Static<typeof StreamQuery> }

/** Limits of the frames that clients send; they have nothing to say here, so these are small. */
const MAX_CLIENT_FRAME_BYTES = 4_096
const MAX_CLIENT_FRAGMENTS = 16
const PING_INTERVAL_MS = 20_000
const PONG_DEADLINE_MS = 45_000
/** Below this a full socket has room again. */
const DRAINED_BYTES = 16 * 1024
/** How long watchers have to say goodbye when the server stops. */
const CLOSE_GRACE_MS = 2_000

export async function registerTaskSocket(app: FastifyInstance, hub: Hub): Promise<void> {
  const heardAtMs = new Map<WebSocket, number>()

  await app.register(websocket, {
    options: { maxPayload: MAX_CLIENT_FRAME_BYTES, maxFragments: MAX_CLIENT_FRAGMENTS, maxBufferedChunks: 64, perMessageDeflate: false },
    async preClose() {
      clearInterval(pinging)
      await hub.stop()
      const deadline = performance.now() + CLOSE_GRACE_MS
      while (heardAtMs.size > 0 && performance.now() < deadline) await sleep(10)
      for (const socket of heardAtMs.keys()) socket.terminate()
    },
  })

  const pinging = setInterval(() => {
    const nowMs = performance.now()
    for (const [socket, atMs] of heardAtMs) {
      if (nowMs - atMs <= PONG_DEADLINE_MS) socket.ping()
      else if (socket.readyState === socket.OPEN) socket.close(CLOSE_CODES.noPong, 'pings were not answered')
      else socket.terminate()
    }
  }, PING_INTERVAL_MS)

  function serve(socket: WebSocket, id: string, since: number | undefined): void {
    const hear = () => heardAtMs.set(socket, performance.now())
    hear()
    socket.on('pong', hear)
    socket.on('message', () => stream.refuse())
    socket.on('error', () => socket.terminate())
    socket.on('close', () => {
      heardAtMs.delete(socket)
      stream.stop()
    })
    const stream = attach(hub, socket, id, since)
  }

  app.get<StreamRoute>(
    '/ws/tasks/:id',
    {
      websocket: true,
      schema: { hide: true, params: TaskParams, querystring: StreamQuery },
      async preHandler(request) {
        if (!request.ws) throw new ProblemError('upgrade_required', `${request.url} is a WebSocket.`)
        if (!(await hub.find(idOf(request)))) throw new ProblemError('task_not_found', `There is no task ${request.params.id}.`)
      },
    },
    (socket, request) => serve(socket, idOf(request), request.query.since),
  )
}

/** PostgreSQL writes UUIDs in lower case, and so do rooms and events. */
function idOf(request: { params: TaskParams }): string {
  return request.params.id.toLowerCase()
}

function attach(hub: Hub, socket: WebSocket, id: string, since: number | undefined): AttachedStream & { refuse(): void } {
  const sink = {
    send: (frame: string) => socket.send(frame, whenSent),
    bufferedBytes: () => socket.bufferedAmount,
    close: (code: number, reason: string) => socket.close(code, reason),
  }
  const stream = hub.attach(id, sink, since)
  function whenSent(): void {
    if (socket.bufferedAmount < DRAINED_BYTES) stream.drained()
  }
  return {
    drained: () => stream.drained(),
    stop: () => stream.stop(),
    refuse() {
      stream.stop()
      socket.close(CLOSE_CODES.protocolError, 'this stream takes no messages')
    },
  }
}
