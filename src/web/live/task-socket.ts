/**
 * `/ws/tasks/:id`: a stream of the hub over a WebSocket.
 *
 * 1. Requests are refused before the upgrade, as problem+json: a malformed id or `since` (400), a plain GET (426), too
 *    many streams (429, 503), an unknown id (404), PostgreSQL away (503). The gate has already refused pages of other
 *    origins.
 * 2. The socket opens, and its listeners are attached in the same turn: messages that arrive earlier would be lost.
 * 3. The hub sends and closes. The client sends nothing: any message closes with 4500. WebSocket clients answer pings
 *    by themselves; a socket that is silent for 45 s is closed with 4003.
 * 4. The application closes: the hub tells every client to reconnect (1012), and connections that are still open after
 *    2 s are terminated. Only then does the server stop, which waits for its connections.
 */
import type { IncomingMessage, Server } from 'node:http'
import websocket, { type WebSocket } from '@fastify/websocket'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Hub } from '../../live/hub.js'
import { restartReason } from '../../live/restart-reason.js'
import type { Position } from '../../live/room.js'
import { StreamQuery, TaskParams } from '../../protocol/queries.js'
import { CLOSE_CODES } from '../../protocol/stream.js'
import { settlesWithin } from '../../timing/deadline.js'
import { stripBasePath } from '../base-path.js'
import { ProblemError } from '../problem.js'
import type { Beats } from './beats.js'
import { assertHandshake } from './handshake.js'
import { startHeartbeat, type HeartbeatOptions } from './heartbeat.js'
import { describeFrame, guardSocket } from './socket-guard.js'
import { createSocketSink } from './socket-sink.js'
import type { StreamLimits } from './stream-limits.js'
import { splitUpgrades } from './upgrades.js'

const CLOSE_DEADLINE_MS = 2_000
const SOCKET_PATH = '/ws/'
/**
 * The largest message of a client is a subscription over `/ws/tasks` to 1,000 ids with a version for each: 90 KB, which
 * may arrive in packets of a kilobyte. Compression would cost 230 KB of memory per socket.
 */
const WEBSOCKET_OPTIONS = {
  maxPayload: 128 * 1024,
  maxFragments: 16,
  maxBufferedChunks: 256,
  perMessageDeflate: false,
  closeTimeout: 5_000,
}

type StreamRoute = { Params: TaskParams; Querystring: StreamQuery }

export interface TaskSocketDeps {
  hub: Hub
  limits: StreamLimits
  beats: Beats
  /** As in the configuration. */
  basePath?: string
  heartbeat?: HeartbeatOptions
}

/**
 * Registers WebSockets and the route, in a separate scope with nothing but WebSockets under `/ws/`: their hooks would
 * make every other request 5 % slower.
 */
export async function registerTaskSocket(
  app: FastifyInstance,
  { hub, limits, beats, basePath = '', heartbeat: options = {} }: TaskSocketDeps,
): Promise<void> {
  const heartbeat = startHeartbeat(options)
  const refuseUpgrade = (error: unknown, { url }: IncomingMessage) =>
    app.log.error({ err: error, path: url?.split('?')[0] }, 'an upgrade failed; its connection was closed')
  await app.register(websocket, {
    // Gets its upgrades from an emitter, which need not be a server.
    options: {
      ...WEBSOCKET_OPTIONS,
      server: splitUpgrades(
        app.server,
        (url) => stripBasePath(basePath, url).startsWith(SOCKET_PATH),
        refuseUpgrade,
      ) as unknown as Server,
    },
    // A broken frame has already closed the socket with its own code; a socket that is still open failed on our side.
    errorHandler(error, socket, request) {
      if (socket.readyState === socket.OPEN) guardSocket(socket, request).fail('open', error)
      else request.log.debug({ err: error }, 'a socket failed')
    },
    async preClose() {
      // Clients that connect from now on are sent 1012 too, until the server stops listening.
      await hub.stop()
      await closeAll(app.websocketServer.clients)
      app.server.removeAllListeners('upgrade')
      heartbeat.stop()
    },
  })

  app.get<StreamRoute>(
    '/tasks/:id',
    {
      websocket: true,
      schema: { hide: true, params: TaskParams, querystring: StreamQuery },
      preValidation: assertHandshake,
      async preHandler(request) {
        limits.assertRoom(request)
        if (!(await hub.find(request.principal, idOf(request))))
          throw new ProblemError('task_not_found', `There is no task ${request.params.id}.`)
        // Many requests may have waited for that together.
        limits.assertRoom(request)
      },
    },
    (socket, request) => {
      heartbeat.add(socket)
      socket.once('close', limits.open(request))
      const { since, logs } = request.query
      follow({ hub, beats }, socket, request, {
        since: since === undefined ? undefined : Number(since),
        logs: logs === '1',
      })
    },
  )
}

/** PostgreSQL writes ids in lower case, and so do events. */
function idOf(request: { params: TaskParams }): string {
  return request.params.id.toLowerCase()
}

function follow(
  { hub, beats }: Pick<TaskSocketDeps, 'hub' | 'beats'>,
  socket: WebSocket,
  request: FastifyRequest<StreamRoute>,
  position: Position,
): void {
  const { guard } = guardSocket(socket, request)
  const sink = beats.add(
    createSocketSink(
      socket,
      request.raw.socket,
      guard('drain', () => stream.drained()),
    ),
  )
  const stop = () => {
    sink.stop()
    stream.stop()
  }
  const stream = hub.attach(request.principal, idOf(request), position, sink)
  const refuseMessage = (): void => {
    stop()
    socket.close(CLOSE_CODES.protocolError, 'this stream accepts no messages')
  }
  socket.on('message', guard<[Buffer, boolean]>('message', refuseMessage, describeFrame))
  socket.on('close', guard('close', stop))
}

/**
 * Sends 1012 to sockets that the hub did not close, waits until all are closed, and terminates those that take longer.
 */
async function closeAll(sockets: ReadonlySet<WebSocket>): Promise<void> {
  for (const socket of sockets)
    if (socket.readyState === socket.OPEN) socket.close(CLOSE_CODES.restart, restartReason())
  const closed = Promise.all([...sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve))))
  if (await settlesWithin(closed, CLOSE_DEADLINE_MS)) return
  for (const socket of sockets) socket.terminate()
  await closed
}
