/** How much of what is scarce this worker has, and what each attempt needs of it: see `slots.ts`. */
import { availableParallelism, totalmem } from 'node:os'
import type { Registry } from '../definitions/registry.js'
import { SUSPECT_SLOT } from '../store/attempts/claim.js'

/** What every handler in a process of its own needs, whatever its type. No type has this name. */
const PROCESS_SLOT = '@process'
const MB = 1024 * 1024
/** What a process takes beside what its handler may use. */
const OWN_MB = 128
/** What a handler is expected to use whose type has no memory limit. */
const USUAL_MB = 128
/** Parts of the memory of the machine, or of its container. */
const PROCESS_SHARE = 0.5
const SUSPECT_SHARE = 0.25
/** Suspects mostly wait, as they did before in the worker's own process: more of them than processors. */
const SUSPECTS_PER_PROCESSOR = 4

export interface Capacity {
  /** Slots of each kind. */
  capacities: ReadonlyMap<string, number>
  /** What needs a slot: see `claimAttemptsInSlots`. */
  scarce: string[]
  /** Processes of handlers, those of suspects among them. */
  maxProcesses: number
  needsOf(type: string, isSuspect: boolean): string[]
  /** What the tasks of a queue need that one type has to itself. */
  expectNeeds(queue: string): string[]
}

export interface Machine {
  processors: number
  memoryMb: number
}

export function planCapacity(registry: Pick<Registry, 'find' | 'all'>, machine = readMachine()): Capacity {
  const types = registry.all()
  const isIsolated = ({ definition }: (typeof types)[number]) => definition.isolation === 'process'
  const limited = types.filter((registered) => registered.concurrency !== undefined || isIsolated(registered))
  const processes = countProcesses(types.filter(isIsolated), machine)
  const suspects = countThatFit(machine, SUSPECT_SHARE, USUAL_MB + OWN_MB, SUSPECTS_PER_PROCESSOR * machine.processors)
  const capacities = new Map([[PROCESS_SLOT, processes], [SUSPECT_SLOT, suspects]])
  for (const { definition, concurrency = Infinity } of limited) capacities.set(definition.type, concurrency)
  const typeOfQueue = new Map(limited.filter(({ definition }) => definition.queue === undefined).map(({ queue, definition }) => [queue, definition.type]))

  function needsOf(type: string, isSuspect: boolean): string[] {
    const own = capacities.has(type) ? [type] : []
    if (isSuspect) return [...own, SUSPECT_SLOT]
    return registry.find(type)?.definition.isolation === 'process' ? [...own, PROCESS_SLOT] : own
  }

  return {
    capacities,
    scarce: [...limited.map(({ definition }) => definition.type), SUSPECT_SLOT],
    maxProcesses: processes + suspects,
    needsOf,
    expectNeeds(queue) {
      const type = typeOfQueue.get(queue)
      return type === undefined ? [] : needsOf(type, false)
    },
  }
}

/** As many as there are processors, or as the most that a type asks for, as far as the memory goes with the largest of them. */
function countProcesses(isolated: readonly { definition: { memoryLimitMb?: number }; concurrency: number | undefined }[], machine: Machine): number {
  const wanted = Math.max(machine.processors, ...isolated.map(({ concurrency = 0 }) => concurrency))
  const largestMb = Math.max(USUAL_MB, ...isolated.map(({ definition }) => definition.memoryLimitMb ?? 0)) + OWN_MB
  return countThatFit(machine, PROCESS_SHARE, largestMb, wanted)
}

function countThatFit({ memoryMb }: Machine, share: number, eachMb: number, wanted: number): number {
  return Math.max(1, Math.min(wanted, Math.floor((memoryMb * share) / eachMb)))
}

function readMachine(): Machine {
  // 0, or more than the machine has, where nothing bounds this process.
  const boundMb = (process.constrainedMemory() || Infinity) / MB
  return { processors: availableParallelism(), memoryMb: Math.min(totalmem() / MB, boundMb) }
}
