/** What the routes of limits, pauses, weights and sequences share: their dependencies, and the check of names. */
import type { Database } from '../../../db/database.js'
import type { Registry } from '../../../definitions/registry.js'
import type { FieldError } from '../../../protocol/errors.js'
import { listWaitingQueues } from '../../../store/deliveries/take-due.js'
import { listWorkers } from '../../../store/workers.js'
import type { GateCache } from '../../../tasks/release/gate-cache.js'
import type { Releaser } from '../../../tasks/release/releaser.js'
import { ProblemError } from '../../problem.js'
import type { Reading } from '../../reading.js'

export interface SettingDeps {
  db: Database
  reading: Reading
  registry: Registry
  gates: GateCache
  releaser: Releaser
}

/** Applies a new setting: in this process at once, in the others within two seconds. */
export async function applySetting({ gates, releaser }: SettingDeps): Promise<void> {
  await gates.refresh()
  releaser.wake()
}

/** @throws ProblemError if there are errors */
export function assertSetting(errors: readonly FieldError[]): void {
  const [first] = errors
  if (first !== undefined) throw new ProblemError('invalid_setting', `${first.pointer} ${first.detail}`, errors)
}

interface Names {
  /** Each with the pointer of its field. */
  types?: readonly (readonly [pointer: string, type: string])[]
  queues?: readonly (readonly [pointer: string, queue: string])[]
}

/**
 * Checks names of types and queues, because a setting with a misspelt name would silently do nothing. A name is known
 * if this process or any worker has it, so one worker of a new version is enough. A queue is also known if tasks wait
 * in it.
 */
export async function checkNames({ reading, registry }: SettingDeps, names: Names): Promise<FieldError[]> {
  const { types = [], queues = [] } = names
  if (types.length + queues.length === 0) return []
  const [workers, waiting] = await Promise.all([listWorkers(reading.byKey), listWaitingQueues(reading.byKey)])
  const knownTypes = new Set([
    ...registry.all().map(({ definition }) => definition.type),
    ...workers.flatMap((worker) => worker.types),
  ])
  const knownQueues = new Set([
    ...registry.queues,
    ...registry.internalQueues.keys(),
    ...workers.flatMap((worker) => worker.queues.map(({ name }) => name)),
    ...waiting,
  ])
  return [...refuse('type', types, knownTypes), ...refuse('queue', queues, knownQueues)]
}

function refuse(
  what: 'type' | 'queue',
  given: readonly (readonly [string, string])[],
  known: ReadonlySet<string>,
): FieldError[] {
  return given
    .filter(([, name]) => !known.has(name))
    .map(([pointer, name]) => ({
      pointer,
      detail: `"${name}" is not one of ${[...known].sort().join(', ')}`,
      fix: `Use one of these, or start a worker that knows the ${what} first.`,
    }))
}
