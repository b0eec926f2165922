/** A small TCP proxy between a process and what it connects to, whose line can be cut, frozen and switched over. */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import type { TestScope } from './services.js'

export interface TestProxy {
  readonly port: number
  /** Where new connections go, in turn. One that is refused there is closed. */
  targets: number[]
  /** Ends every connection, or those picked by `which`. */
  cut(which?: (index: number) => boolean): void
  /** From now on nothing is passed on in either direction, and nobody is told. New connections are taken and stay mute. */
  freeze(): void
  /** Passes on again what comes from now on, over new connections: the frozen ones are ended. */
  thaw(): void
}

export async function startProxy(t: TestScope, targets: number[]): Promise<TestProxy> {
  const pairs = new Set<[Socket, Socket]>()
  let isFrozen = false
  let turn = 0

  const server = createServer((near) => {
    const port = proxy.targets[turn++ % proxy.targets.length]
    if (port === undefined) return near.destroy()
    const far = connect(port, '127.0.0.1')
    const pair: [Socket, Socket] = [near, far]
    pairs.add(pair)
    for (const [from, to] of [[near, far], [far, near]] as const) {
      from.setNoDelay(true)
      from.on('data', (data) => {
        if (!isFrozen && !to.write(data)) {
          from.pause()
          to.once('drain', () => from.resume())
        }
      })
      from.on('error', () => {})
      from.on('close', () => {
        pairs.delete(pair)
        to.destroy()
      })
    }
  })

  const cut = (which: (index: number) => boolean = () => true) => {
    ;[...pairs].forEach(([near], index) => which(index) && near.destroy())
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    cut()
    server.close()
  })
  const proxy: TestProxy = {
    port: (server.address() as AddressInfo).port,
    targets,
    cut,
    freeze: () => (isFrozen = true),
    thaw() {
      isFrozen = false
      cut()
    },
  }
  return proxy
}
