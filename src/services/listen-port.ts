/** Looks whether the web process will be able to listen, before anything is started for it. */
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describeListenError } from '../listen-error.js'

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
    if (error.code !== 'EADDRINUSE' || performance.now() > deadline) throw describeListenError(error, host, port)
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
