/** The web application: everything that is registered, in order. */
import fastifyPostgres from '@fastify/postgres'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, {
  LogController,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyPluginAsync,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify'
import type { ArtifactStore } from '../artifacts/artifact-store.js'
import type { DiskFloor } from '../artifacts/disk-floor.js'
import type { Broker } from '../broker/broker.js'
import { startDispatcher } from '../broker/dispatcher.js'
import { createPublisher, type Publisher } from '../broker/publisher.js'
import type { WebConfig } from '../config.js'
import { toPgConfig } from '../db/database-url.js'
import { STATEMENT_SETTINGS, type Database } from '../db/database.js'
import { wrapPool } from '../db/wrap-pool.js'
import type { Registry } from '../definitions/registry.js'
import { splitList } from '../environment.js'
import { Subscriptions } from '../live/subscriptions.js'
import { MAX_BODY_BYTES } from '../protocol/http.js'
import { createRedactor } from '../secrets.js'
import { TaskCreator, type TaskCreatorOptions } from '../tasks/create/task-creator.js'
import { setDeclaredLimits } from '../tasks/release/declared-limits.js'
import { openGateCache } from '../tasks/release/gate-cache.js'
import { setDeclaredSchedules } from '../schedules/declared-schedules.js'
import { announceTasks } from '../tasks/create/announcer.js'
import { Releaser } from '../tasks/release/releaser.js'
import { WaitExplainer } from '../tasks/release/wait-explainer.js'
import { redirectToPage, stripBasePath } from './base-path.js'
import { registerCodings } from './bodies/codings.js'
import { registerJsonBodies } from './bodies/json-body.js'
import { openConnections, type Connections } from './connections/connections.js'
import { registerRequestCheck } from './connections/request-check.js'
import { registerDocuments } from './docs/documents.js'
import { registerGate } from './gate/gate.js'
import { registerOrigins } from './gate/origins.js'
import { startBeats } from './live/beats.js'
import { assertHandshake } from './live/handshake.js'
import { HttpStreams } from './live/http-stream.js'
import { startLive, startWatchedLists } from './live/start-live.js'
import { createStreamLimits } from './live/stream-limits.js'
import {
  registerSubscriptionSocket,
  type OpenSubscriptions,
  type SubscriptionSocketDeps,
} from './live/subscription-socket.js'
import { registerTaskSocket, type TaskSocketDeps } from './live/task-socket.js'
import { registerMethods } from './methods.js'
import { pageRoutes } from './page/page.js'
import { registerPrincipal, type Identify } from './principal.js'
import { ANSWER_HEADERS, answerProblem, ProblemError } from './problem.js'
import { registerReading } from './reading.js'
import { artifactRoutes } from './routes/artifacts.js'
import { changeTaskRoutes } from './routes/change-task.js'
import { createTaskRoute } from './routes/create-task.js'
import { healthRoutes } from './routes/health.js'
import { readAttemptsRoutes } from './routes/read-attempts.js'
import { readSelectionRoutes } from './routes/read-selection.js'
import { readTaskRoutes } from './routes/read-task.js'
import { readTasksRoutes } from './routes/read-tasks.js'
import { limitRoutes } from './routes/release/limits.js'
import { pauseRoutes } from './routes/release/pauses.js'
import { sequenceRoutes } from './routes/release/sequences.js'
import { weightRoutes } from './routes/release/weights.js'
import { scheduleRoutes } from './routes/schedules/schedules.js'
import { workerRoutes } from './routes/workers.js'
import { noteShutdown, registerShutdown } from './shutdown.js'
import { createTaskReader } from './task-reader.js'
import { closeQueries, compileValidator } from './validation.js'

export interface AppDeps {
  config: WebConfig
  broker: Broker
  registry: Registry
  artifacts: ArtifactStore
  floor: DiskFloor
  log: FastifyBaseLogger
  /** The limits of all connections; created from the configuration if not given. */
  connections?: Connections
  /** Makes the principal of a request. Default: the default principal for every request. */
  identify?: Identify
}

/** How long a request may wait for a connection, and a statement for its answer, in milliseconds. */
const DATABASE_DEADLINE_MS = { connect: 3_000, statement: 10_000 }

/** Builds the application and starts its hub. `app.close()` stops both. */
export async function buildApp({
  config,
  broker,
  registry,
  artifacts,
  floor,
  log,
  connections = openConnections(config, log),
  identify,
}: AppDeps): Promise<FastifyInstance> {
  const app = createServer(config, log, connections, identify)
  const shutdown = noteShutdown(app)
  const db = await registerDatabase(app, config)
  const reading = await registerReading(app, {
    databaseUrl: config.databaseUrl,
    connections: config.databaseReadPoolSize,
  })
  const waits = new WaitExplainer(reading.byKey)
  const hub = await startLive(reading, waits, broker, log)
  const publisher = createPublisher({ bus: broker.events, log })
  const dispatcher = startDispatcher({ queue: broker.queue, brokerWindow: config.brokerWindow, log })
  const releaser = new Releaser({ db, broker, publisher, log, claimWindowMs: config.claimWindowSeconds * 1_000 })
  await setDeclaredLimits(db, registry)
  await setDeclaredSchedules(db, registry)
  const gates = await openGateCache(reading.byKey, log)
  const creator = createTaskCreator(config, { db, dispatcher, gates, releaser, publisher })

  const refuseOtherMethods = registerMethods(app)
  await registerOrigins(app, config.allowedOrigins)
  await registerDocuments(app, registry)
  const limits = limitStreams(config)
  const beats = startBeats(config.streamHeartbeatSeconds * 1_000, (error) =>
    log.error({ err: error }, 'could not send heartbeats'),
  )
  const lists = startWatchedLists(hub, reading, log)
  const openSubscriptions: OpenSubscriptions = (client) => new Subscriptions({ hub, lists, ...client })
  const streams = new HttpStreams({ hub, openSubscriptions, beats })
  await app.register(socketRoutes, { prefix: '/ws', hub, limits, beats, openSubscriptions, basePath: config.basePath })
  registerShutdown(app, { lists, streams, creator, gates, releaser, publisher, dispatcher, beats, hub, connections })
  await app.register(createTaskRoute, {
    creator,
    db,
    broker,
    registry,
    hub,
    limits,
    allowPrivate: config.httpRequestAllowPrivate,
  })
  await app.register(changeTaskRoutes, { db, publisher, registry })
  const readTask = createTaskReader(db)
  await app.register(readTaskRoutes, { readTask, reading, waits, hub, limits, streams })
  await app.register(readAttemptsRoutes, { readTask, reading })
  await app.register(artifactRoutes, {
    db,
    artifacts,
    limits,
    bodies: connections.bodies,
    maxUploadsMb: config.maxUploadsMb,
  })
  await app.register(readSelectionRoutes, { reading, hub, limits, streams })
  await app.register(readTasksRoutes, { reading, registry })
  await app.register(workerRoutes, { db, reading, registry })
  const settings = { db, reading, registry, gates, releaser }
  for (const routes of [limitRoutes, pauseRoutes, weightRoutes, sequenceRoutes]) await app.register(routes, settings)
  await app.register(scheduleRoutes, { db, reading, registry, releaser, publisher })
  await app.register(healthRoutes, {
    db,
    broker,
    floor,
    isStopping: () => shutdown.isStopping,
    hideSecrets: createRedactor({ DATABASE_URL: config.databaseUrl, REDIS_URL: config.redisUrl }),
  })
  redirectToPage(app, config.basePath)
  await app.register(pageRoutes)
  refuseOtherMethods()
  return app
}

function createTaskCreator(
  { claimWindowSeconds, idempotencyKeyTtlHours }: WebConfig,
  {
    publisher,
    ...parts
  }: Pick<TaskCreatorOptions, 'db' | 'dispatcher' | 'gates' | 'releaser'> & {
    publisher: Publisher
  },
): TaskCreator {
  return new TaskCreator({
    ...parts,
    announce: (tasks, created) => announceTasks(publisher, tasks, created),
    publish: (events) => publisher.publish(events),
    claimWindowMs: claimWindowSeconds * 1_000,
    keyTtlMs: idempotencyKeyTtlHours * 3_600_000,
  })
}

function limitStreams({ maxStreamsPerAddress, maxStreamsPerKey, maxStreams }: WebConfig) {
  return createStreamLimits({
    maxPerAddress: maxStreamsPerAddress,
    maxPerKey: maxStreamsPerKey,
    maxPerProcess: maxStreams,
  })
}

/** The server without any route: how requests are received, checked, and refused. */
function createServer(
  config: WebConfig,
  log: FastifyBaseLogger,
  connections: Connections,
  identify: Identify | undefined,
) {
  const app = Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    // A separate logger per request is not worth its cost: the few lines that are written name the request.
    childLoggerFactory: (logger) => logger,
    // The longest name in an address, percent-encoded: a key of 200 characters. File names are shorter.
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 3 * 4 * 200 },
    bodyLimit: MAX_BODY_BYTES,
    serverFactory: (handler) => connections.createServer(handler),
    rewriteUrl: ({ url = '' }) => stripBasePath(config.basePath, url),
    // For addresses that are refused before routing.
    frameworkErrors: (error, request, reply) => answerProblem(findRefusal(reply) ?? error, request, reply),
    // For bytes that Node's parser refuses.
    clientErrorHandler: (error, socket) => connections.refuse(error, socket),
    trustProxy: config.trustProxy !== '' && splitList(config.trustProxy),
    return503OnClosing: false,
  }).withTypeProvider<TypeBoxTypeProvider>()

  app.addHook('onRequest', (_request, reply, done) => done(guardAnswer(reply)))
  const findRefusal = registerGate(app, config)
  registerRequestCheck(app)
  registerPrincipal(app, identify)
  app.setErrorHandler(answerProblem)
  app.setNotFoundHandler(refuseUnknown)
  app.setValidatorCompiler(compileValidator)
  closeQueries(app)
  // Answers are built field by field from rows. Their schemas are documentation, checked by the tests.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data))
  app.removeContentTypeParser('text/plain')
  registerCodings(app)
  registerJsonBodies(app, connections.bodies)
  return app
}

/** Every answer keeps its declared type, and pages of other origins cannot embed it. */
function guardAnswer(reply: FastifyReply): undefined {
  void reply.headers(ANSWER_HEADERS)
}

function refuseUnknown({ method, url }: FastifyRequest): never {
  throw new ProblemError('not_found', `There is nothing at ${method} ${url.split('?')[0]}.`)
}

/** @fastify/postgres owns the pool and ends it when the application closes. */
async function registerDatabase(app: FastifyInstance, config: WebConfig): Promise<Database> {
  await app.register(fastifyPostgres, {
    ...toPgConfig(config.databaseUrl, {
      applicationName: 'taskwire web',
      options: STATEMENT_SETTINGS,
      connectTimeoutSeconds: DATABASE_DEADLINE_MS.connect / 1_000,
    }),
    max: config.databasePoolSize,
    query_timeout: DATABASE_DEADLINE_MS.statement,
  })
  // Without a listener, an idle connection closed by the server would end the process.
  app.pg.pool.on('error', (error) => app.log.warn({ err: error }, 'lost an idle database connection'))
  return wrapPool(app.pg.pool)
}

type SocketDeps = TaskSocketDeps & Omit<SubscriptionSocketDeps, 'assertUpgrade'>

const socketRoutes: FastifyPluginAsync<SocketDeps> = async (app, deps) => {
  app.setNotFoundHandler(refuseUnknown)
  await registerTaskSocket(app, deps)
  registerSubscriptionSocket(app, { ...deps, assertUpgrade: assertHandshake })
}
