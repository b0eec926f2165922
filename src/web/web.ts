/** The web role: opens the application's resources and listens. */
import type { AddressInfo } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'
import { createDiskFloor } from '../artifacts/disk-floor.js'
import { isS3, openArtifactStore } from '../artifacts/open-store.js'
import { openBroker } from '../broker/open-broker.js'
import type { WebConfig } from '../config.js'
import { splitList } from '../environment.js'
import { loadRegistry } from '../handlers/load-registry.js'
import { describeListenError } from '../listen-error.js'
import { setBasePath } from '../protocol/base-path.js'
import { settlesWithin } from '../timing/deadline.js'
import { buildApp } from './app.js'
import { openConnections, type ConnectionCounts, type ConnectionLimits } from './connections/connections.js'
import type { Identify } from './principal.js'

/** How long requests in progress may take when the server stops. */
const CLOSE_GRACE_MS = 2_500

export interface RunningWeb {
  /** The address it listens on, e.g. `http://127.0.0.1:3000`. */
  address: string
  /** The present counts of its connections. */
  counts(): ConnectionCounts
  stop(): Promise<void>
}

/**
 * @param limits overrides of the usual connection limits and those of the configuration
 * @param identify makes the principal of a request; default: the default principal for every request
 * @throws StartupError if the port is taken or may not be used, or files cannot be stored
 */
export async function startWeb(
  config: WebConfig,
  log: FastifyBaseLogger,
  limits: Partial<ConnectionLimits> = {},
  identify?: Identify,
): Promise<RunningWeb> {
  setBasePath(config.basePath)
  const registry = await loadRegistry(config)
  const floor = createDiskFloor({ minFreeMb: config.minFreeDiskMb, folders: foldersOf(config), log })
  const artifacts = await openArtifactStore(config.artifactsDir, floor)
  await artifacts.prepare()
  const broker = await openBroker({ redisUrl: config.redisUrl, databaseUrl: config.databaseUrl, log })
  const connections = openConnections(config, log, limits)
  const app = await buildApp({
    config,
    broker,
    registry,
    artifacts,
    floor,
    log,
    connections,
    ...(identify && { identify }),
  })

  let stopping: Promise<void> | undefined
  async function stop(): Promise<void> {
    // A connection with a started request, or without any request yet, is not idle, and the server would wait for it.
    const closed = app.close()
    if (!(await settlesWithin(closed, CLOSE_GRACE_MS))) app.server.closeAllConnections()
    await closed
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
  return { address: `http://${host}:${port}`, counts: () => connections.counts(), stop: stopOnce }
}

/** The disks that `/readyz` checks: those for files, and those that the operator names. */
function foldersOf({ artifactsDir, smtpUrl, emailDir, watchedDirs }: WebConfig): string[] {
  return [
    ...(isS3(artifactsDir) ? [] : [artifactsDir]),
    ...(smtpUrl === undefined ? [emailDir] : []),
    ...splitList(watchedDirs),
  ]
}
