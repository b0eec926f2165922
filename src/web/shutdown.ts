/**
 * How the web process stops, in order. `app.close()` begins it.
 *
 * While requests are still answered:
 * 1. `/readyz` answers 503, so that a load balancer sends no new clients.
 * 2. The hub closes the streams of tasks with 1012, then every WebSocket is closed (`live/task-socket.ts`).
 * 3. Lists and streams over HTTP are closed.
 *
 * After the last request:
 * 4. Tasks of clients that disconnected before their answer are stored.
 * 5. The changes committed so far are published.
 * 6. Releases, dispatching, heartbeats and the hub stop; remaining connections are closed.
 * 7. The database pools close (their plugins registered their hooks first, and Fastify runs the last registered first).
 */
import type { FastifyInstance } from 'fastify'

export interface ShutdownParts {
  lists: { stop(): void }
  streams: { stop(): void }
  creator: { whenIdle(): Promise<void> }
  gates: { stop(): void }
  releaser: { stop(): Promise<void> }
  publisher: { drain(): Promise<void> }
  dispatcher: { stop(): void }
  beats: { stop(): void }
  hub: { stop(): Promise<void> }
  connections: { stop(): void }
}

export interface Shutdown {
  readonly isStopping: boolean
}

/** Step 1. Call it before anything else registers a hook for the end. */
export function noteShutdown(app: FastifyInstance): Shutdown {
  let isStopping = false
  app.addHook('preClose', async () => {
    isStopping = true
  })
  return {
    get isStopping() {
      return isStopping
    },
  }
}

/** Steps 3 to 6. Call it after the sockets, whose plugin does step 2, and after the database pools. */
export function registerShutdown(app: FastifyInstance, parts: ShutdownParts): void {
  app.addHook('preClose', async () => {
    parts.lists.stop()
    parts.streams.stop()
  })
  app.addHook('onClose', async () => {
    await parts.creator.whenIdle()
    parts.gates.stop()
    await parts.releaser.stop()
    await parts.publisher.drain()
    parts.dispatcher.stop()
    parts.beats.stop()
    await parts.hub.stop()
    parts.connections.stop()
  })
}
