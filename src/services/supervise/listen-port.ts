/** Checks that the web process will be able to listen, before anything is started for it. */
import { createServer } from 'node:net'
import { describeListenError } from '../../listen-error.js'
import { retry } from '../../timing/retry.js'

const PAUSES = { firstMs: 50, maxMs: 50 }

/**
 * Waits at most `patienceMs` for the port to become free: the web process of a supervisor that was just killed needs a
 * moment to exit.
 * @throws StartupError when the port stays taken or may not be used
 */
export async function assertPortFree(host: string, port: number, patienceMs: number): Promise<void> {
  try {
    await retry(() => tryListening(host, port), {
      ...PAUSES,
      withinMs: patienceMs,
      isWorthwhile: (error) => (error as NodeJS.ErrnoException).code === 'EADDRINUSE',
    })
  } catch (error) {
    throw describeListenError(error as NodeJS.ErrnoException, host, port)
  }
}

function tryListening(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen({ host, port }, () => server.close(() => resolve()))
  })
}
