/**
 * Estimates when a waiting task starts: how many starts are ahead of its own, and how much time passes between two
 * starts, by how long attempts took lately.
 *
 * The range is made to hold for 8 of 10 tasks. It is wide on purpose: run times differ, tasks that are created later may
 * start first, and a worker may be added or lost at any time.
 */
import type { SequenceFacts, WaitFacts } from '../../store/release/explain.js'
import type { Place } from './place.js'
import type { RunTimes } from './recent-runs.js'
import { findExhausted, findFull, type WaitingReason } from './waiting-reason.js'

/** In milliseconds since 1970. */
export interface StartEstimate {
  at: number
  earliestAt: number
  latestAt: number
}

export interface EstimateInput {
  facts: WaitFacts
  reason: WaitingReason
  place: Place
  /** Of the task's type, or of its queue if the type has not run. */
  ofType: RunTimes | undefined
  ofQueue: RunTimes | undefined
  /** When the first task of its sequence starts; null if that is unknown, undefined if it runs or there is none. */
  first: StartEstimate | null | undefined
}

/** Between a task being free to start and its start: the broker, the loops of the relay, and the claim. */
const DISPATCH_MS = 3_000
/** How much longer, or less long, the tasks ahead may take than those that have run. */
const SLOWER = 1.6
const QUICKER = 0.6

/** Null when nothing is known of it: what holds it has no end, or nothing like it has run. */
export function estimateStart(input: EstimateInput): StartEstimate | null {
  const { facts, reason, place, ofType, ofQueue } = input
  switch (reason.code) {
    case 'sequence_halted':
    case 'no_worker_for_queue':
    case 'no_worker_for_type':
      return null
    case 'starting':
      return from(facts.nowAt, { leastMs: 0, likelyMs: 0, mostMs: 0 })
    case 'paused':
    case 'run_time':
    case 'backoff': {
      if (reason.until === null || facts.slots === 0 || !facts.isTypeKnown) return null
      const start = afterIts(reason.until, input)
      return facts.sequence === null ? start : laterOf(start, inSequence(facts.sequence, input))
    }
    case 'rate':
      return atRate(input)
    case 'limit': {
      const held = [...findFull(facts), ...(reason.limit ? [reason.limit] : [])]
      const width = Math.min(facts.slots, ...held.map(({ allowed }) => allowed ?? 1))
      return whenRatesAllow(facts, inTurns(facts.nowAt, width, ofType, place.ahead))
    }
    case 'sequence':
      return facts.sequence && whenRatesAllow(facts, inSequence(facts.sequence, input))
    case 'turn':
      return inTurns(facts.nowAt, facts.slots, ofQueue, place.ahead - countFree(input))
  }
}

/** Slots of its queue that no attempt uses. */
function countFree({ facts, place }: EstimateInput): number {
  return Math.max(0, facts.slots - place.load.running)
}

/** @param at when what holds it ends; then it stands behind those that wait, as many as there are now */
function afterIts(at: number, input: EstimateInput): StartEstimate {
  const { facts, place, ofQueue } = input
  const ahead = place.load.waiting - countFree(input)
  const behind = ahead >= 0 ? inTurns(at, facts.slots, ofQueue, ahead) : null
  return { at, earliestAt: at, latestAt: behind?.latestAt ?? at + DISPATCH_MS }
}

function atRate({ facts, reason, place }: EstimateInput): StartEstimate | null {
  const { rate, periodMs } = reason.limit ?? {}
  if (reason.until === null || !rate || !periodMs) return null
  const waitMs = place.costAhead * (periodMs / rate)
  const base = Math.max(facts.nowAt, reason.until)
  return from(base, { leastMs: waitMs * 0.9, likelyMs: waitMs, mostMs: waitMs * 1.2 })
}

function whenRatesAllow(facts: WaitFacts, start: StartEstimate | null): StartEstimate | null {
  const allowedAt = Math.max(facts.nowAt, ...findExhausted(facts).map(({ nextAt }) => nextAt ?? 0))
  return start && laterOf(start, from(allowedAt, { leastMs: 0, likelyMs: 0, mostMs: 0 }))
}

/** The tasks ahead run one after the other, each when it is due and not paused. */
function inSequence(sequence: SequenceFacts, { facts, ofType, first }: EstimateInput): StartEstimate | null {
  const { ahead, heldUntil, isHeldForever } = sequence
  // One that runs has run for a while already.
  const turns = takeTurns(1, ofType, first === undefined ? ahead - 1 : ahead)
  if (isHeldForever || first === null || turns === null) return null
  const start = after(first ?? { at: facts.nowAt, earliestAt: facts.nowAt, latestAt: facts.nowAt }, turns)
  if (heldUntil === null) return start
  return laterOf(start, { at: heldUntil, earliestAt: heldUntil, latestAt: heldUntil + turns.mostMs + DISPATCH_MS })
}

/** From a time on, in milliseconds. */
type Range = Record<'leastMs' | 'likelyMs' | 'mostMs', number>

/**
 * @param width how many run at a time
 * @param ahead how many must start before it, after one of those that run has ended
 */
function takeTurns(width: number, times: RunTimes | undefined, ahead: number): Range | null {
  if (times === undefined || width === 0) return null
  const { meanMs, deviationMs, quickMs, gapMs } = times
  const leastGapMs = meanMs / width
  // The time between an end and the next start counts too, but not the time in which nothing waited.
  const likelyGapMs = Math.min(Math.max(leastGapMs, gapMs), 3 * leastGapMs + 20)
  const starts = Math.max(0, ahead) + 1
  // The run that ends first has run for a while already.
  const leastMs = Math.max(0, (starts - 1) * (quickMs / width) * QUICKER - deviationMs)
  const likelyMs = (starts - 0.5) * likelyGapMs
  const mostMs = starts * likelyGapMs * SLOWER + meanMs + 2 * deviationMs
  return { leastMs, likelyMs, mostMs }
}

function inTurns(base: number, ...turns: Parameters<typeof takeTurns>): StartEstimate | null {
  const range = takeTurns(...turns)
  return range && from(base, range)
}

function from(base: number, range: Range): StartEstimate {
  return after({ at: base, earliestAt: base, latestAt: base }, range)
}

function after({ at, earliestAt, latestAt }: StartEstimate, { leastMs, likelyMs, mostMs }: Range): StartEstimate {
  return { at: at + likelyMs, earliestAt: earliestAt + leastMs, latestAt: latestAt + mostMs + DISPATCH_MS }
}

/** When both must have come. */
function laterOf(one: StartEstimate, other: StartEstimate | null): StartEstimate | null {
  return (
    other && {
      at: Math.max(one.at, other.at),
      earliestAt: Math.max(one.earliestAt, other.earliestAt),
      latestAt: Math.max(one.latestAt, other.latestAt),
    }
  )
}
