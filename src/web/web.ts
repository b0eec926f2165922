/** The web role: opens what the application needs and listens. */
import type { AddressInfo } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'
import { openBroker } from '../broker/open-broker.js'
import { StartupError, type WebConfig } from '../config.js'
import { createDefinitions, DEFAULT_TYPE } from '../handlers/index.js'
import { createRegistry } from '../tasks/registry.js'
import { buildApp } from './app.js'

/**
 * @returns the address it listens on, e.g. `http://127.0.0.1:3000`
 * @throws StartupError when the port is taken or may not be used
 */
export async function startWeb(config: WebConfig, log: FastifyBaseLogger): Promise<{ address: string; stop(): Promise<void> }> {
  const registry = createRegistry(createDefinitions(config), DEFAULT_TYPE)
  const broker = await openBroker({ redisUrl: config.redisUrl, databaseUrl: config.databaseUrl, log })
  const app = await buildApp({ config, broker, registry, log })

  let stopping: Promise<void> | undefined
  async function stop(): Promise<void> {
    await app.close()
    await broker.close()
  }
  const stopOnce = () => (stopping ??= stop())

  try {
    await app.listen({ host: config.host, port: config.port })
  } catch (error) {
    await stopOnce()
    throw describeListenError(error, config)
  }
  const { port } = app.server.address() as AddressInfo
  const host = config.host.includes(':') ? `[${config.host}]` : config.host
  return { address: `http://${host}:${port}`, stop: stopOnce }
}

function describeListenError(error: unknown, { host, port }: WebConfig): unknown {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'EADDRINUSE':
      return new StartupError(`port ${port} on ${host} is taken. Set PORT to a free one, or stop what uses it.`)
    case 'EACCES':
      return new StartupError(`port ${port} on ${host} may not be used by this user. Set PORT to one above 1023.`)
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return new StartupError(`${host} is not an address of this machine. Set HOST to one, e.g. 127.0.0.1.`)
    default:
      return error
  }
}
