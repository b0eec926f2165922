/** Servers that accept a connection and never finish, each in its own way. They are real servers on loopback. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import type { TestScope } from './services.js'

export interface Tarpit {
  port: number
  /** The number of connections accepted so far. */
  readonly taken: number
  /** Resolves once this many connections are open at the same time. */
  holds(count: number): Promise<void>
  /** Resolves once no connection is open. */
  isEmpty(): Promise<void>
}

/** `treat` gets each connection when its first bytes arrive, `greet` as soon as it is accepted. */
export async function startTarpit(
  t: TestScope,
  treat: (socket: Socket) => void = () => {},
  greet: (socket: Socket) => unknown = () => {},
): Promise<Tarpit> {
  const open = new Set<Socket>()
  const listeners = new Set<() => void>()
  let taken = 0
  const tell = () => [...listeners].forEach((listener) => listener())
  const until = (condition: () => boolean) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (!condition()) return
        listeners.delete(look)
        resolve()
      }
      listeners.add(look)
      look()
    })
  const server = createServer((socket) => {
    taken += 1
    open.add(socket)
    socket
      .on('error', () => {})
      .on('close', () => void (open.delete(socket), tell()))
      .once('data', () => treat(socket))
    greet(socket)
    tell()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of open) socket.destroy()
  })
  return {
    port: (server.address() as AddressInfo).port,
    get taken() {
      return taken
    },
    holds: (count) => until(() => open.size >= count),
    isEmpty: () => until(() => open.size === 0),
  }
}

/** Sends `head`, then `part` every `everyMs` for as long as the other side is connected. */
export function trickle(head: string, part: string, everyMs = 20) {
  return (socket: Socket): void => {
    socket.write(head)
    const timer = setInterval(() => socket.writable && socket.write(part), everyMs)
    socket.on('close', () => clearInterval(timer))
  }
}

/** Sends `head`, then `part` over and over, as fast as the other side reads. */
export function flood(head: string, part: string) {
  return (socket: Socket): void => {
    const pour = () => {
      while (socket.writable && socket.write(part));
    }
    socket.on('drain', pour).write(head)
    pour()
  }
}

/** Returns a port that accepts no connections: its process is frozen, and its backlog is full. */
export async function startFullBacklog(t: TestScope): Promise<number> {
  const program = `require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () { console.log(this.address().port) })`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const port = Number(line.toString())
  child.kill('SIGSTOP')
  const fillers = Array.from({ length: 8 }, () => connect(port, '127.0.0.1').on('error', () => {}))
  t.teardown(() => fillers.forEach((socket) => socket.destroy()))
  // Once the first filler is connected, the others fill the backlog.
  await Promise.all(fillers.slice(0, 1).map((socket) => once(socket, 'connect')))
  return port
}
