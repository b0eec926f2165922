/** The definitions of a project: the exports of the modules in its folder, TypeScript too, without a build step. */
import { readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import * as typebox from 'typebox'
import { StartupError } from '../startup-error.js'
import * as taskwire from '../index.js'
import type { Definition } from '../tasks/definition.js'

const MODULE = /(?<!\.d|\.test|\.spec)\.(js|mjs|ts|mts)$/

/**
 * Loads every module in the folder and those below it (`node_modules` and hidden folders excepted) and collects the
 * definitions among their exports.
 * @throws StartupError that names the file, when one cannot be loaded, or none of them exports a definition
 */
export async function loadOwnDefinitions(folder: string): Promise<Definition[]> {
  const root = resolve(folder)
  const files = await findModules(root).catch((error: NodeJS.ErrnoException) => {
    throw new StartupError(`cannot read the folder of tasks ${root}: ${error.code === 'ENOENT' ? 'it does not exist' : error.message}`)
  })
  // Loaded when it is needed: it takes memory in every role that knows types.
  const { createJiti } = await import('jiti')
  // A module gets the `taskwire` that loads it, wherever its folder lies: its errors are then ours, too.
  const jiti = createJiti(import.meta.url, { virtualModules: { taskwire, typebox }, fsCache: false, interopDefault: false })
  const found = new Set<Definition>()
  for (const file of files) {
    const exported = await jiti.import<Record<string, unknown>>(file).catch((error: unknown) => {
      throw new StartupError(`cannot load ${file}: ${error instanceof Error ? error.message : String(error)}`)
    })
    for (const value of Object.values(exported)) if (isDefinition(value)) found.add(value)
  }
  if (found.size === 0) throw new StartupError(`no module in ${root} exports a task: expected "export const … = defineTask({ type, … })"`)
  for (const { type, isInternal } of found) {
    if (isInternal === true) throw new StartupError(`the task type "${type}" is marked as internal, and nobody could create one: leave isInternal out`)
  }
  return [...found]
}

async function findModules(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true })
  const nested = entries.map((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return entry.name.startsWith('.') || entry.name === 'node_modules' ? [] : findModules(path)
    return MODULE.test(entry.name) ? [path] : []
  })
  return (await Promise.all(nested)).flat().sort()
}

function isDefinition(value: unknown): value is Definition {
  return typeof value === 'object' && value !== null && 'type' in value && 'run' in value && typeof value.run === 'function'
}
