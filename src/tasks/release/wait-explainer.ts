/**
 * Answers why tasks wait: the reason, in a code and in words, how many are ahead of them, and about when they start.
 *
 * Two statements for any number of tasks up to 200, a third if some of them wait in sequences, and one more every few
 * seconds for run times. Requests that arrive together share them.
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
import { estimateStart, type StartEstimate } from './estimate-start.js'
import { findPlaces, type Place } from './place.js'
import { RecentRuns, toRunTimes, type RunTimes } from './recent-runs.js'
import { findExhausted, findFull, findReason, toInstant, waitForLimit, type WaitingReason } from './waiting-reason.js'

/** The most tasks of one statement. */
const MAX_EXPLAINED = 200

/** A task that has started since it was read. */
export const STARTING: WaitingFor = {
  ...{ code: 'starting', text: 'it is on its way to a worker' },
  ...{ until: null, taskIds: [], ahead: null, start: null },
}

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
    const waiting = await this.#read(unique)
    if (waiting.length === 0) return []
    const firsts = await this.#read(findFirsts(waiting))
    const all = [...new Map([...waiting, ...firsts].map((wait) => [wait.facts.id, wait])).values()]
    const [places, runs] = await Promise.all([
      readPlaces(
        this.#db,
        all.map((wait) => ({ id: wait.facts.id, blocker: nameBlocker(wait), isRated: wait.reason.code === 'rate' })),
      ),
      this.#runs.read([...new Set(all.map(({ facts }) => facts.type))]),
    ])
    const context = { placeById: findPlaces(places), timesOf: groupTimes(runs) }
    const firstById = new Map(firsts.flatMap((first) => locate(first, context) ?? []).map((one) => [one.facts.id, one]))
    return waiting.flatMap((wait) => {
      const located = locate(wait, context)
      if (located === undefined) return []
      const { id, tenant, version, sequence } = located.facts
      const first = sequence === null ? undefined : firstById.get(sequence.firstId)
      return { id, tenant, version, waitingFor: compose(located, first, context) }
    })
  }

  async #read(tasks: readonly TaskOfTenant[]): Promise<Wait[]> {
    if (tasks.length === 0) return []
    return (await readWaitFacts(this.#db, tasks)).map((facts) => ({ facts, reason: findReason(facts) }))
  }
}

interface Wait {
  facts: WaitFacts
  reason: WaitingReason
}

interface LocatedWait extends Wait {
  place: Place
}

interface Context {
  placeById: ReadonlyMap<TaskId, Place>
  timesOf: TimesOf
}

/** The first tasks of the sequences that these wait in. */
function findFirsts(waiting: readonly Wait[]): TaskOfTenant[] {
  const firsts = waiting.flatMap(({ facts: { tenant, sequence } }) =>
    sequence === null || sequence.isHalted ? [] : { id: sequence.firstId, tenant },
  )
  return [...new Map(firsts.map((first) => [first.id, first])).values()]
}

/** Undefined when the task has ended meanwhile. */
function locate({ facts, reason }: Wait, { placeById }: Context): LocatedWait | undefined {
  const place = placeById.get(facts.id)
  return place && decideTurn({ facts, reason, place })
}

function nameOf({ id, tenant }: { id: TaskId; tenant: string }): string {
  return `${id} ${tenant}`
}

/** As `lanes.blocked_by` names it: the first by name of the limits that are reached. */
function nameBlocker({ facts, reason }: Wait): string {
  if (reason.limit === undefined) return ''
  const { name, subject } = findFull(facts)[0] ?? findExhausted(facts)[0] ?? reason.limit
  return `limit ${name} ${subject}`
}

/** Nothing holds the task: it is its turn, or others take the room that a limit has, or the slots. */
function decideTurn(wait: LocatedWait): LocatedWait {
  const { facts, reason, place } = wait
  if (reason.code !== 'turn') return wait
  for (const limit of facts.limits) {
    const ahead = limit.allowed === null ? 0 : place.countAheadUnder(limit)
    if (limit.allowed !== null && ahead >= limit.allowed - limit.held)
      return { facts, reason: waitForLimit(limit), place: { ...place, ahead, isBound: ahead >= MAX_COUNTED } }
  }
  if (place.ahead < facts.slots - place.load.running)
    return { ...wait, reason: { ...reason, code: 'starting', text: STARTING.text } }
  return { ...wait, reason: { ...reason, text: `all slots of the queue ${facts.queue} are taken` } }
}

/** Codes for which the number of tasks ahead of a task means something. */
const IN_ORDER: ReadonlySet<WaitingReason['code']> = new Set(['limit', 'rate', 'sequence', 'sequence_halted', 'turn'])

type TimesOf = (kind: 'type' | 'queue', name: string) => RunTimes | undefined

/** @param first the first task of its sequence, if that one waits too */
function compose(wait: LocatedWait, first: LocatedWait | undefined, context: Context): WaitingFor {
  const { reason } = wait
  const isInOrder = IN_ORDER.has(reason.code)
  const ahead = countAhead(wait)
  const firstStart = first && estimate(first, undefined, context)
  const start = estimate(wait, firstStart, context)
  return {
    code: reason.code,
    text: [reason.text, isInOrder && describeAhead(ahead), describeFirst(reason, first)].filter(Boolean).join('; '),
    until: reason.until === null ? null : toInstant(reason.until),
    taskIds: reason.taskIds,
    ahead: isInOrder ? ahead : null,
    start: start && {
      at: toInstant(start.at),
      earliestAt: toInstant(start.earliestAt),
      latestAt: toInstant(start.latestAt),
    },
  }
}

function isInSequence({ code }: WaitingReason): boolean {
  return code === 'sequence' || code === 'sequence_halted'
}

function countAhead({ facts, reason, place }: LocatedWait): number {
  return isInSequence(reason) ? (facts.sequence?.ahead ?? 0) : place.ahead
}

/** @param first the start of the first task of its sequence; undefined if that one does not wait */
function estimate(
  { facts, reason, place }: LocatedWait,
  first: StartEstimate | null | undefined,
  { timesOf }: Context,
): StartEstimate | null {
  if (place.isBound && IN_ORDER.has(reason.code) && !isInSequence(reason)) return null
  const ofQueue = timesOf('queue', facts.queue)
  const ofType = timesOf('type', facts.type) ?? ofQueue
  return estimateStart({ facts, reason, place, ofType, ofQueue: ofQueue ?? ofType, first })
}

function describeAhead(ahead: number): string {
  if (ahead === 0) return 'it is next'
  if (ahead >= MAX_COUNTED) return `more than ${MAX_COUNTED} tasks are ahead of it`
  return ahead === 1 ? 'one task is ahead of it' : `${ahead} tasks are ahead of it`
}

/** Why the first task of its sequence does not run either. */
function describeFirst({ code }: WaitingReason, first: LocatedWait | undefined): string {
  if (code !== 'sequence' || first === undefined || first.reason.code === 'starting') return ''
  return `the first one waits: ${first.reason.text}`
}

function groupTimes(runs: readonly Run[]): TimesOf {
  const known = new Map<string, RunTimes | undefined>()
  return (kind, name) => {
    const key = `${kind} ${name}`
    if (!known.has(key)) known.set(key, toRunTimes(runs.filter((run) => run[kind] === name)))
    return known.get(key)
  }
}
