/** Servers that accept a connection and never finish, each in its own way. Real ones, on loopback. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import type { TestScope } from './services.js'

export interface Tarpit {
  port: number
  /** Connections that were taken so far. */
  readonly taken: number
  /** Resolves once so many connections are open at the same time. */
  holds(count: number): Promise<void>
  /** Resolves once none is open. */
  isEmpty(): Promise<void>
}

/** `treat` gets each connection when its first bytes have come, `greet` at once. */
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

/** Says `head`, then `part` again and again, `everyMs`, as long as the other side listens. */
export function trickle(head: string, part: string, everyMs = 20) {
  return (socket: Socket): void => {
    socket.write(head)
    const timer = setInterval(() => socket.writable && socket.write(part), everyMs)
    socket.on('close', () => clearInterval(timer))
  }
}

/** As fast as the other side takes it. */
export function flood(head: string, part: string) {
  return (socket: Socket): void => {
    const pour = () => {
      while (socket.writable && socket.write(part));
    }
    socket.on('drain', pour).write(head)
    pour()
  }
}

/** A port whose connections are never taken: its process stands still, and its backlog is full. */
export async function startFullBacklog(t: TestScope): Promise<number> {
  const program = `require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () { console.log(this.address().port) })`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const port = Number(line.toString())
  child.kill('SIGSTOP')
  const fillers = Array.from({ length: 8 }, () => connect(port, '127.0.0.1').on('error', () => {}))
  t.teardown(() => fillers.forEach((socket) => socket.destroy()))
  // One of them is not let in: the backlog is full.
  await Promise.all(fillers.slice(0, 1).map((socket) => once(socket, 'connect')))
  return port
}
