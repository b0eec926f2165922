/** Calculates this worker's limited resources, and which of them each attempt needs. See `slots.ts`. */
import { availableParallelism, totalmem } from 'node:os'
import type { Registry } from '../definitions/registry.js'
import { SUSPECT_SLOT } from '../store/attempts/claim.js'
import type { Quarantine } from './quarantine.js'

/** Needed by every handler that runs in a process of its own, whatever its type. No type has this name. */
const PROCESS_SLOT = '@process'
const MB = 1024 * 1024
/** Memory of a process in addition to what its handler may use. */
const OWN_MB = 128
/** Expected memory of a handler whose type has no memory limit. */
const USUAL_MB = 128
/** Shares of the memory of the machine or container. */
const PROCESS_SHARE = 0.5
const SUSPECT_SHARE = 0.25
/** More suspects than processors may run: they mostly wait, as they did before in the worker's own process. */
const SUSPECTS_PER_PROCESSOR = 4

export interface Capacity {
  /** Number of slots of each kind. */
  capacities: ReadonlyMap<string, number>
  /** The kinds for which an attempt needs a slot now: see `claimAttemptsInSlots`. */
  scarce(): string[]
  /** Processes of handlers, those of suspects included. */
  maxProcesses: number
  needsOf(type: string, isSuspect: boolean): string[]
  /** The kinds that tasks of a queue need, when only one type uses the queue. */
  expectNeeds(queue: string): string[]
}

export interface Machine {
  processors: number
  memoryMb: number
}

/** @param quarantine the types whose attempts are treated as suspects */
export function planCapacity(
  registry: Pick<Registry, 'find' | 'all'>,
  quarantine: Pick<Quarantine, 'types' | 'has'> = { types: [], has: () => false },
  machine = readMachine(),
): Capacity {
  const types = registry.all()
  const isIsolated = ({ definition }: (typeof types)[number]) => definition.isolation === 'process'
  const limited = types.filter((registered) => registered.concurrency !== undefined || isIsolated(registered))
  const processes = countProcesses(types.filter(isIsolated), machine)
  const suspects = countThatFit(machine, SUSPECT_SHARE, USUAL_MB + OWN_MB, SUSPECTS_PER_PROCESSOR * machine.processors)
  const capacities = new Map([
    [PROCESS_SLOT, processes],
    [SUSPECT_SLOT, suspects],
  ])
  for (const { definition, concurrency = Infinity } of limited) capacities.set(definition.type, concurrency)
  const typeOfQueue = new Map(
    limited
      .filter(({ definition }) => definition.queue === undefined)
      .map(({ queue, definition }) => [queue, definition.type]),
  )

  function needsOf(type: string, isSuspect: boolean): string[] {
    // A type without a limit has a slot for each attempt, so that the claim can tell whether the caller knows its needs.
    const own = capacities.has(type) || quarantine.has(type) ? [type] : []
    if (isSuspect || quarantine.has(type)) return [...own, SUSPECT_SLOT]
    return registry.find(type)?.definition.isolation === 'process' ? [...own, PROCESS_SLOT] : own
  }

  return {
    capacities,
    scarce: () => [...limited.map(({ definition }) => definition.type), ...quarantine.types, SUSPECT_SLOT],
    maxProcesses: processes + suspects,
    needsOf,
    expectNeeds(queue) {
      const type = typeOfQueue.get(queue)
      return type === undefined ? [] : needsOf(type, false)
    },
  }
}

/** One per processor, or the highest concurrency of a type, as far as memory allows with the largest of them. */
function countProcesses(
  isolated: readonly { definition: { memoryLimitMb?: number }; concurrency: number | undefined }[],
  machine: Machine,
): number {
  const wanted = Math.max(machine.processors, ...isolated.map(({ concurrency = 0 }) => concurrency))
  const largestMb = Math.max(USUAL_MB, ...isolated.map(({ definition }) => definition.memoryLimitMb ?? 0)) + OWN_MB
  return countThatFit(machine, PROCESS_SHARE, largestMb, wanted)
}

function countThatFit({ memoryMb }: Machine, share: number, eachMb: number, wanted: number): number {
  return Math.max(1, Math.min(wanted, Math.floor((memoryMb * share) / eachMb)))
}

function readMachine(): Machine {
  // 0, or more than the machine has, when the memory of this process is unlimited.
  const boundMb = (process.constrainedMemory() || Infinity) / MB
  return { processors: availableParallelism(), memoryMb: Math.min(totalmem() / MB, boundMb) }
}
