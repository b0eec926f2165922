/** Looks whether the web process will be able to listen, before anything is started for it. */
import { createServer } from 'node:net'
import { StartupError } from '../config.js'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Waits at most `patienceMs` for the port to be free: the web process of a supervisor that was just killed needs a
 * moment to go.
 * @throws StartupError when it is taken or may not be used
 */
export async function assertPortFree(host: string, port: number, patienceMs: number): Promise<void> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    const error = await tryListening(host, port)
    if (error === undefined) return
    if (error.code !== 'EADDRINUSE' || performance.now() > deadline) throw new StartupError(describe(error, host, port))
    await sleep(50)
  }
}

function tryListening(host: string, port: number): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', resolve)
    server.listen({ host, port }, () => server.close(() => resolve(undefined)))
  })
}

function describe(error: NodeJS.ErrnoException, host: string, port: number): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `port ${port} on ${host} is taken. Set PORT to a free one, or stop what uses it.`
    case 'EACCES':
      return `port ${port} on ${host} may not be used by this user. Set PORT to one above 1023.`
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return `${host} is not an address of this machine. Set HOST to one, e.g. 127.0.0.1.`
    default:
      return `cannot listen on port ${port} of ${host}: ${error.message}`
  }
}
