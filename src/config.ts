/**
 * The configuration: one schema per role, read from the environment once, at start. All errors are reported together.
 * The variables of each role are in a file of `config/`.
 */
import { Type, type Static } from 'typebox'
import { logLevel } from './config/kinds.js'
import { relay } from './config/relay.js'
import { databaseUrl, definitions, everyRole } from './config/shared.js'
import { web } from './config/web.js'
import { worker } from './config/worker.js'
import {
  annotationsOf,
  ConfigError,
  readEnvironment,
  variableName,
  type ConfigProblem,
  type Environment,
} from './environment.js'

const dataDir = Type.String({
  minLength: 1,
  default: '.taskwire',
  description: 'where `start` keeps the data of its own PostgreSQL and Redis, relative to the working folder',
  expected: 'the path of a folder',
})

export const WebConfig = Type.Object({ ...everyRole, ...web })
export type WebConfig = Static<typeof WebConfig>

export const WorkerConfig = Type.Object({ ...everyRole, ...worker })
export type WorkerConfig = Static<typeof WorkerConfig>

export const RelayConfig = Type.Object({ ...everyRole, ...relay })
export type RelayConfig = Static<typeof RelayConfig>

const MigrateConfig = Type.Object({ databaseUrl, logLevel: logLevel('info') })
export type MigrateConfig = Static<typeof MigrateConfig>

const TypesConfig = Type.Object({ ...definitions, logLevel: logLevel('info') })
export type TypesConfig = Static<typeof TypesConfig>

/**
 * The variables of all roles, which `start` passes on to them. Its own output says what matters, so the roles log less.
 */
export const StartConfig = Type.Object({
  ...everyRole,
  ...web,
  ...worker,
  ...relay,
  databaseUrl: Type.Optional(databaseUrl),
  logLevel: logLevel('warn'),
  dataDir,
})
export type StartConfig = Static<typeof StartConfig>

const SCHEMAS = {
  start: StartConfig,
  web: WebConfig,
  worker: WorkerConfig,
  relay: RelayConfig,
  migrate: MigrateConfig,
  types: TypesConfig,
} as const

export type Role = keyof typeof SCHEMAS
export type ConfigOf<R extends Role> = Static<(typeof SCHEMAS)[R]>

/** Reads the configuration of a role. @throws ConfigError that names every wrong value */
export function loadConfig<R extends Role>(role: R, env: Environment): ConfigOf<R> {
  const { values, problems: wrong } = readEnvironment(SCHEMAS[role], env)
  const problems = [...wrong, ...findWrongRelations(values as Partial<StartConfig>)]
  if (problems.length > 0) throw new ConfigError(problems)
  return values as ConfigOf<R>
}

/** Finds values that are valid individually but not together. Individually wrong ones are reported already. */
function findWrongRelations(config: Partial<StartConfig>): ConfigProblem[] {
  const { relayIntervalMs, claimWindowSeconds, workerConcurrency, brokerWindow, maxStreams, maxConnections } = config
  const problems: ConfigProblem[] = []
  if (isAbove(relayIntervalMs, claimWindowSeconds, 1000)) {
    problems.push({
      name: 'RELAY_INTERVAL_MS',
      value: String(relayIntervalMs),
      expected: `at most CLAIM_WINDOW_SECONDS (${claimWindowSeconds} s): the relay must poll within the window`,
    })
  }
  if (isAbove(workerConcurrency, brokerWindow, 1)) {
    problems.push({
      name: 'WORKER_CONCURRENCY',
      value: String(workerConcurrency),
      expected: `at most BROKER_WINDOW (${brokerWindow}): a worker cannot run more than the broker holds`,
    })
  }
  if (isAbove(maxStreams, maxConnections, 1)) {
    problems.push({
      name: 'MAX_STREAMS',
      value: String(maxStreams),
      expected: `at most MAX_CONNECTIONS (${maxConnections}): each stream is a connection`,
    })
  }
  return problems
}

function isAbove(value: unknown, limit: unknown, factor: number): boolean {
  return typeof value === 'number' && typeof limit === 'number' && value > limit * factor
}

/** A row of the configuration table in docs/configuration.md. */
export interface ConfigRow {
  name: string
  roles: Role[]
  /** As shown to people; empty when there is none. */
  default: string
  meaning: string
}

/** All variables, for the configuration table. A test compares docs/configuration.md with it. */
export function describeConfig(): ConfigRow[] {
  const roles = Object.keys(SCHEMAS) as Role[]
  return Object.keys(StartConfig.properties).map((key) => {
    const takers = roles.filter((role) => key in SCHEMAS[role].properties)
    const defaults = takers.map((role) => ({ role, value: annotationsOf(SCHEMAS[role], key).default }))
    const usual = defaults.find(({ role }) => role !== 'start') ?? defaults[0]
    const others = defaults
      .filter(({ value }) => value !== usual?.value)
      .map(({ role, value }) => ` (${role}: ${value})`)
    return {
      name: variableName(key),
      roles: takers,
      default: usual?.value === undefined ? '' : `${usual.value}${others.join('')}`,
      meaning: annotationsOf(StartConfig, key).description,
    }
  })
}

const SECRET_VARIABLES = new Set(
  Object.keys(StartConfig.properties)
    .filter((key) => annotationsOf(StartConfig, key).isSecret)
    .map(variableName),
)

/** Whether the schema marks the variable as a secret. */
export function isSecretVariable(name: string): boolean {
  return SECRET_VARIABLES.has(name)
}
