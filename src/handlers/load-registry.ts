/** Every task type of this server: the built-in ones, and those in the project's own folder. */
import { readWorkerQueues } from '../config/shared.js'
import { createRegistry, type Registry } from '../definitions/registry.js'
import { splitList } from '../environment.js'
import { StartupError } from '../startup-error.js'
import { createDefinitions, DEFAULT_TYPE, type DefinitionOptions } from './built-in.js'
import { loadOwnDefinitions } from './load-definitions.js'

/** @throws StartupError if the folder of own definitions cannot be loaded, or two definitions have the same type */
export async function loadRegistry(options: DefinitionOptions): Promise<Registry> {
  const own = options.tasksDir === undefined ? { tasks: [], schedules: [] } : await loadOwnDefinitions(options.tasksDir)
  try {
    const queues = [...splitList(options.queues ?? ''), ...readWorkerQueues(options.workerQueues ?? '').keys()]
    return createRegistry([...createDefinitions(options), ...own.tasks], DEFAULT_TYPE, queues, own.schedules)
  } catch (error) {
    throw error instanceof Error ? new StartupError(error.message, { cause: error }) : error
  }
}
