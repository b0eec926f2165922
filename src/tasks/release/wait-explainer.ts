/**
 * Answers why tasks wait: the reason, in a code and in words, how many are before them, and about when they start.
 *
 * Two statements for any number of tasks up to 200, and one more every few seconds for run times. Requests that come
 * together share them.
 */
import type { Principal } from '../../access/principal.js'
import type { Database } from '../../db/database.js'
import { isRefusedStatement } from '../../db/refused-data.js'
import type { TaskId } from '../../protocol/task.js'
import type { WaitingFor } from '../../protocol/waiting.js'
import { MAX_COUNTED, readWaitFacts, type TaskOfTenant, type WaitFacts } from '../../store/release/explain.js'
import { readPlaces } from '../../store/release/places.js'
import type { Run } from '../../store/release/runs.js'
import { createBatcher, type Batcher } from '../../timing/batcher.js'
import { estimateStart } from './estimate-start.js'
import { findPlaces, type Place } from './place.js'
import { RecentRuns, toRunTimes, type RunTimes } from './recent-runs.js'
import { findReason, toInstant, type WaitingReason } from './waiting-reason.js'

/** The most tasks of one statement. */
const MAX_EXPLAINED = 200

export interface ExplainedTask {
  id: TaskId
  tenant: string
  /** The version of the task for which it holds. */
  version: number
  waitingFor: WaitingFor
}

export class WaitExplainer {
  readonly #db: Database
  readonly #runs: RecentRuns
  readonly #requests: Batcher<TaskOfTenant, WaitingFor | null>

  constructor(db: Database) {
    this.#db = db
    this.#runs = new RecentRuns(db)
    this.#requests = createBatcher<TaskOfTenant, WaitingFor | null>({
      maxBatch: MAX_EXPLAINED,
      isItemsFault: isRefusedStatement,
      write: async (tasks) => {
        const explained = new Map((await this.explainAll(tasks)).map((task) => [nameOf(task), task.waitingFor]))
        return tasks.map((task) => explained.get(nameOf(task)) ?? null)
      },
    })
  }

  /** Null if the task does not wait, or is not this tenant's. */
  explain({ tenant }: Principal, id: TaskId): Promise<WaitingFor | null> {
    return this.#requests.add({ id, tenant })
  }

  /** At most `MAX_EXPLAINED` tasks, of any tenants; those that do not wait are left out. */
  async explainAll(tasks: readonly TaskOfTenant[]): Promise<ExplainedTask[]> {
    const unique = [...new Map(tasks.map((task) => [nameOf(task), task])).values()]
    const waiting = (await readWaitFacts(this.#db, unique)).map((facts) => ({ facts, reason: findReason(facts) }))
    if (waiting.length === 0) return []
    const [places, runs] = await Promise.all([
      readPlaces(
        this.#db,
        waiting.map(({ facts, reason }) => ({ id: facts.id, blocker: nameBlocker(reason) })),
      ),
      this.#runs.read([...new Set(waiting.map(({ facts }) => facts.type))]),
    ])
    const placeById = findPlaces(places)
    const timesOf = groupTimes(runs)
    return waiting.flatMap(({ facts, reason }) => {
      const place = placeById.get(facts.id)
      if (place === undefined) return []
      const { id, tenant, version } = facts
      return { id, tenant, version, waitingFor: compose(facts, decideTurn(facts, reason, place), place, timesOf) }
    })
  }
}

function nameOf({ id, tenant }: { id: TaskId; tenant: string }): string {
  return `${id} ${tenant}`
}

/** As `lanes.blocked_by` names it. */
function nameBlocker({ limit }: WaitingReason): string {
  return limit === undefined ? '' : `limit ${limit.name} ${limit.subject}`
}

/** Nothing holds the task: either it is its turn, or not yet. */
function decideTurn({ slots, queue }: WaitFacts, reason: WaitingReason, { ahead, load }: Place): WaitingReason {
  if (reason.code !== 'turn') return reason
  if (ahead < slots - load.running) return { ...reason, code: 'starting', text: 'it is on its way to a worker' }
  return { ...reason, text: `all slots of the queue ${queue} are taken` }
}

/** Codes for which the number of tasks before a task means something. */
const IN_ORDER: ReadonlySet<WaitingReason['code']> = new Set(['limit', 'rate', 'sequence', 'sequence_halted', 'turn'])

type TimesOf = (kind: 'type' | 'queue', name: string) => RunTimes | undefined

function compose(facts: WaitFacts, reason: WaitingReason, place: Place, timesOf: TimesOf): WaitingFor {
  const isInSequence = reason.code === 'sequence' || reason.code === 'sequence_halted'
  const ahead = isInSequence ? (facts.sequence?.ahead ?? 0) : place.ahead
  const ofQueue = timesOf('queue', facts.queue)
  const ofType = timesOf('type', facts.type) ?? ofQueue
  const isUnknown = place.isBound && IN_ORDER.has(reason.code) && !isInSequence
  const start = isUnknown ? null : estimateStart({ facts, reason, place, ofType, ofQueue: ofQueue ?? ofType })
  return {
    code: reason.code,
    text: IN_ORDER.has(reason.code) ? `${reason.text}; ${describeAhead(ahead)}` : reason.text,
    until: reason.until === null ? null : toInstant(reason.until),
    taskIds: reason.taskIds,
    ahead: IN_ORDER.has(reason.code) ? ahead : null,
    start: start && {
      at: toInstant(start.at),
      earliestAt: toInstant(start.earliestAt),
      latestAt: toInstant(start.latestAt),
    },
  }
}

function describeAhead(ahead: number): string {
  if (ahead === 0) return 'it is next'
  if (ahead >= MAX_COUNTED) return `more than ${MAX_COUNTED} tasks are before it`
  return ahead === 1 ? 'one task is before it' : `${ahead} tasks are before it`
}

function groupTimes(runs: readonly Run[]): TimesOf {
  const known = new Map<string, RunTimes | undefined>()
  return (kind, name) => {
    const key = `${kind} ${name}`
    if (!known.has(key)) known.set(key, toRunTimes(runs.filter((run) => run[kind] === name)))
    return known.get(key)
  }
}
