/**
 * A small TCP proxy between a process and its server. Its connections can be cut, frozen, slowed down and redirected.
 */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import type { TestScope } from './services.js'

export interface TestProxy {
  readonly port: number
  /** The ports for new connections, in turn. If the target refuses a connection, the proxy closes it. */
  targets: number[]
  /** Ends every connection, or those that `which` selects. */
  cut(which?: (index: number) => boolean): void
  /**
   * Stops passing bytes in either direction, without notice to either side. New connections are accepted and stay
   * silent.
   */
  freeze(): void
  /**
   * Makes the existing connections half-open: their bytes are dropped, and neither side learns of it, nor of the close
   * of the other side.
   */
  blackhole(): void
  /** The number of connections so far, including refused ones. */
  readonly count: number
  /** Delays all bytes from now on, in milliseconds; 0 ends the delay. */
  delay(milliseconds: number): void
  /** Limits each direction of a connection to this many bytes a second; Infinity removes the limit. */
  throttle(bytesPerSecond: number): void
  /** Passes bytes again, on new connections: it ends the frozen ones. */
  thaw(): void
}

export async function startProxy(t: TestScope, targets: number[]): Promise<TestProxy> {
  const pairs = new Set<[Socket, Socket]>()
  const halfOpen = new Set<Socket>()
  let count = 0
  let isFrozen = false
  let delayMs = 0
  let bytesPerMs = Infinity
  let turn = 0

  const server = createServer((near) => {
    count += 1
    const port = proxy.targets[turn++ % proxy.targets.length]
    if (port === undefined) return near.destroy()
    const far = connect(port, '127.0.0.1')
    const pair: [Socket, Socket] = [near, far]
    pairs.add(pair)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.setNoDelay(true)
      let freeAtMs = 0
      let isLate = false
      let last = Promise.resolve()
      from.on('data', (data) => {
        if (isFrozen || halfOpen.has(from)) return
        const nowMs = performance.now()
        freeAtMs = Math.max(freeAtMs, nowMs) + data.length / bytesPerMs
        const waitMs = Math.max(freeAtMs - nowMs, 0) + delayMs
        // Chained timers keep the bytes in order, even if the connection becomes fast again meanwhile.
        if (waitMs < 1 && !isLate) return pass(from, to, data)
        isLate = true
        last = last
          .then(
            () => new Promise<void>((resolve) => setTimeout(resolve, Math.max(nowMs + waitMs - performance.now(), 0))),
          )
          .then(() => pass(from, to, data))
      })
      from.on('error', () => {})
      from.on('close', () => {
        if (halfOpen.delete(from)) return
        pairs.delete(pair)
        to.destroy()
      })
    }
  })

  function pass(from: Socket, to: Socket, data: Buffer): void {
    if (isFrozen || halfOpen.has(from) || to.destroyed || to.write(data)) return
    from.pause()
    to.once('drain', () => from.resume())
  }

  const cut = (which: (index: number) => boolean = () => true) => {
    ;[...pairs].forEach(([near], index) => which(index) && near.destroy())
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    cut()
    for (const socket of halfOpen) socket.destroy()
    server.close()
  })
  const proxy: TestProxy = {
    port: (server.address() as AddressInfo).port,
    targets,
    cut,
    freeze: () => (isFrozen = true),
    blackhole() {
      for (const pair of pairs) for (const socket of pair) halfOpen.add(socket)
      pairs.clear()
    },
    get count() {
      return count
    },
    delay: (milliseconds) => (delayMs = milliseconds),
    throttle: (bytesPerSecond) => (bytesPerMs = bytesPerSecond / 1_000),
    thaw() {
      isFrozen = false
      cut()
    },
  }
  return proxy
}
