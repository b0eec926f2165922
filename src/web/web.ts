/** The web role: opens what the application needs and listens. */
import type { AddressInfo } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'
import { openArtifactStore } from '../artifacts/open-store.js'
import { openBroker } from '../broker/open-broker.js'
import type { WebConfig } from '../config.js'
import { setBasePath } from '../protocol/base-path.js'
import { loadRegistry } from '../handlers/index.js'
import { describeListenError } from '../listen-error.js'
import { buildApp } from './app.js'

/** How long requests under way may take when the server stops. */
const CLOSE_GRACE_MS = 2_500

/**
 * @returns the address it listens on, e.g. `http://127.0.0.1:3000`
 * @throws StartupError when the port is taken or may not be used
 */
export async function startWeb(config: WebConfig, log: FastifyBaseLogger): Promise<{ address: string; stop(): Promise<void> }> {
  setBasePath(config.basePath)
  const registry = await loadRegistry(config)
  const broker = await openBroker({ redisUrl: config.redisUrl, databaseUrl: config.databaseUrl, log })
  const app = await buildApp({ config, broker, registry, artifacts: await openArtifactStore(config.artifactsDir), log })

  let stopping: Promise<void> | undefined
  async function stop(): Promise<void> {
    // A connection on which a request was begun, or none ever came, is not idle, and the server would wait for it.
    const deadline = setTimeout(() => app.server.closeAllConnections(), CLOSE_GRACE_MS)
    await app.close()
    clearTimeout(deadline)
    await broker.close()
  }
  const stopOnce = () => (stopping ??= stop())

  try {
    await app.listen({ host: config.host, port: config.port })
  } catch (error) {
    await stopOnce()
    throw describeListenError(error as NodeJS.ErrnoException, config.host, config.port)
  }
  const { port } = app.server.address() as AddressInfo
  const host = config.host.includes(':') ? `[${config.host}]` : config.host
  return { address: `http://${host}:${port}`, stop: stopOnce }
}
