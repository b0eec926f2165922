/**
 * The definitions of a project: the exports of the modules in its folder, including TypeScript, without a build step.
 */
import { readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import * as typebox from 'typebox'
import { describeWrongDefinition } from '../definitions/definition-options.js'
import type { Definition } from '../definitions/definition.js'
import { isScheduleDefinition, type ScheduleDefinition } from '../definitions/schedule.js'
import * as taskwire from '../index.js'
import { StartupError } from '../startup-error.js'

/** How long a module may take to load. */
const LOAD_DEADLINE_MS = 20_000
const MODULE = /(?<!\.d|\.test|\.spec)\.(js|mjs|ts|mts)$/

/** What the modules of a project export. */
export interface OwnDefinitions {
  tasks: Definition[]
  schedules: ScheduleDefinition[]
}

/**
 * Loads every module in the folder and below it (except `node_modules` and hidden folders) and collects the definitions
 * among their exports.
 * @throws StartupError that names the file, if it cannot be loaded, or if no module exports a definition
 */
export async function loadOwnDefinitions(folder: string, deadlineMs = LOAD_DEADLINE_MS): Promise<OwnDefinitions> {
  const root = resolve(folder)
  const files = await findModules(root).catch((error: NodeJS.ErrnoException) => {
    throw new StartupError(
      `cannot read the tasks folder ${root}: ${error.code === 'ENOENT' ? 'it does not exist' : error.message}`,
    )
  })
  // Loaded on demand: it takes memory in every role that knows types.
  const { createJiti } = await import('jiti')
  // A module gets the `taskwire` that loads it, wherever its folder is, so that its errors are instances of our
  // classes.
  const jiti = createJiti(import.meta.url, {
    virtualModules: { taskwire, typebox },
    fsCache: false,
    interopDefault: false,
  })
  const found = new Set<Definition>()
  const schedules = new Set<ScheduleDefinition>()
  for (const file of files) {
    const exported = await withDeadline(file, jiti.import<Record<string, unknown>>(file), deadlineMs).catch(
      (error: unknown) => {
        throw new StartupError(`cannot load ${file}: ${error instanceof Error ? error.message : String(error)}`)
      },
    )
    for (const [name, value] of Object.entries(exported)) {
      if (isScheduleDefinition(value)) schedules.add(value)
      if (isScheduleDefinition(value) || !looksLikeDefinition(value)) continue
      const wrong = describeWrongDefinition(value)
      if (wrong !== undefined) throw new StartupError(`${wrong} (export "${name}" of ${file})`)
      found.add(value as Definition)
    }
  }
  if (found.size + schedules.size === 0)
    throw new StartupError(`no module in ${root} exports a task: expected "export const … = defineTask({ type, … })"`)
  for (const { type, isInternal } of found) {
    if (isInternal === true)
      throw new StartupError(
        `the task type "${type}" is marked as internal, so no client could create one: omit isInternal`,
      )
  }
  return { tasks: [...found], schedules: [...schedules] }
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

/** A top-level `await` may never end. The timer keeps the process alive: without it, Node would exit with code 0. */
async function withDeadline<Value>(file: string, loading: Promise<Value>, deadlineMs: number): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () =>
        reject(
          new Error(
            `it did not load within ${deadlineMs / 1_000} s. Does a top-level await in ${file} never end? Move the work into run`,
          ),
        ),
      deadlineMs,
    )
  })
  return Promise.race([loading, late]).finally(() => clearTimeout(timer))
}

/**
 * Also recognises a definition with a mistake, such as a missing or misspelt `run`, so that it is reported instead of
 * ignored. A schema is not a definition.
 */
function looksLikeDefinition(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false
  if ('type' in value && 'run' in value && typeof value.run === 'function') return true
  return ['type', 'title', 'payload', 'result', 'run'].filter((name) => name in value).length >= 3
}
