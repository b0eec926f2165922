/** The clients of the chaos run: how each watches its task, and their connections, which can become half-open. */
import { WebSocket } from 'ws'
import { watchTask, WatchError } from '../../public/task-stream.js'
import type { StreamMessage } from '../../src/protocol/stream.js'
import { persist, type PersistentWatcher } from '../helpers/persist.js'
import { startProxy } from '../helpers/proxy.js'
import type { Scene } from '../helpers/scene.js'
import type { TestScope } from '../helpers/services.js'
import type { Fault } from './faults.js'

/** The servers of the run send a heartbeat every second. */
export const HEARTBEAT_SECONDS = '1'
const SILENCE_MS = 4_000
export const HALF_OPEN = "the clients' connections become half-open"

export interface Clients {
  fault: Fault
  /** Watches the task, by each of several clients in turn. */
  watch(id: string): { id: string; watcher: PersistentWatcher }
}

export async function openClients(t: TestScope, scene: Scene): Promise<Clients> {
  const line = await startProxy(t, [])
  let turn = 0

  function addressOfLine(): string {
    // A restarted server listens on another port.
    line.targets = scene.addresses().map((address) => Number(new URL(address).port))
    return `http://127.0.0.1:${line.port}`
  }

  const watchOverLine = (id: string) => persist(addressOfLine, `/ws/tasks/${id}`, SILENCE_MS)
  const ways: ((id: string) => PersistentWatcher)[] = [
    watchOverLine,
    (id) => followWithClient(addressOfLine, id, 'websocket'),
    (id) => persist(() => scene.addresses()[turn++ % scene.addresses().length] ?? '', `/ws/tasks/${id}`, SILENCE_MS),
    (id) => followWithClient(addressOfLine, id, 'events'),
  ]

  return {
    fault: [HALF_OPEN, async () => line.blackhole()],
    watch(id) {
      turn += 1
      const way = ways[turn % ways.length] ?? watchOverLine
      return { id, watcher: way(id) }
    },
  }
}

/** The client that the page and programs use. */
function followWithClient(address: () => string, id: string, transport: 'websocket' | 'events'): PersistentWatcher {
  const messages: StreamMessage[] = []
  let connections = 0
  const watch = watchTask(id, {
    baseUrl: address(),
    WebSocket,
    transports: [transport],
    silenceMs: SILENCE_MS,
    connectMs: 4_000,
    maxDelayMs: 1_000,
    onChange({ message }) {
      if (message.type !== 'progress') messages.push(message)
    },
    onConnection({ state }) {
      if (state === 'live') connections += 1
      address()
    },
  })
  return {
    messages,
    ended: watch.finished.then(
      () => 1000,
      (error: unknown) => (error instanceof WatchError ? error.code : 0),
    ),
    get connections() {
      return connections
    },
  }
}
