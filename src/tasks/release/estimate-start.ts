/**
 * Estimates when a waiting task starts: how many starts come before its own, and how long a start takes from the last,
 * by what attempts took lately.
 *
 * The range is made to hold for 8 of 10 tasks. It is wide on purpose: run times differ, tasks that are created later may
 * come first, and nobody knows when a worker is added.
 */
import type { WaitFacts } from '../../store/release/explain.js'
import type { Place } from './place.js'
import type { RunTimes } from './recent-runs.js'
import type { WaitingReason } from './waiting-reason.js'

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
}

/** Between a task being free to start and its start: the broker, the loops of the relay, and the claim. */
const DISPATCH_MS = 3_000
/** How much longer the tasks before it may take than those that have run. */
const SLOWER = 1.6
const QUICKER = 0.6

/** Null when nothing is known of it: what holds it has no end, or nothing like it has run. */
export function estimateStart(input: EstimateInput): StartEstimate | null {
  const { facts, reason } = input
  switch (reason.code) {
    case 'sequence_halted':
    case 'no_worker_for_queue':
    case 'no_worker_for_type':
      return null
    case 'starting':
      return from(facts.nowAt, { leastMs: 0, likelyMs: 0, mostMs: 0 })
    case 'paused':
    case 'run_time':
    case 'backoff':
      return reason.until === null || facts.slots === 0 ? null : afterIts(reason.until, input)
    case 'rate':
      return atRate(input)
    case 'limit':
      return inTurns(facts.nowAt, Math.min(facts.slots, reason.limit?.allowed ?? 1), input.ofType, input.place.ahead)
    case 'sequence':
      return inTurns(facts.nowAt, 1, input.ofType, Math.max(0, (facts.sequence?.ahead ?? 1) - 1))
    case 'turn': {
      const { facts, place, ofQueue } = input
      const free = Math.max(0, facts.slots - place.load.running)
      return inTurns(facts.nowAt, facts.slots, ofQueue, place.ahead - free)
    }
  }
}

/** @param at when what holds it ends; then it stands behind those that wait, as many as there are now */
function afterIts(at: number, { facts, place, ofQueue }: EstimateInput): StartEstimate {
  const free = Math.max(0, facts.slots - place.load.running)
  const isBusy = place.load.waiting >= free
  const behind = isBusy ? inTurns(at, facts.slots, ofQueue, place.load.waiting - free) : null
  return { at, earliestAt: at, latestAt: behind?.latestAt ?? at + DISPATCH_MS }
}

function atRate({ facts, reason, place }: EstimateInput): StartEstimate | null {
  const { rate, periodMs } = reason.limit ?? {}
  if (reason.until === null || !rate || !periodMs) return null
  const waitMs = place.ahead * (periodMs / rate)
  const base = Math.max(facts.nowAt, reason.until)
  return from(base, { leastMs: waitMs * 0.9, likelyMs: waitMs, mostMs: waitMs * 1.2 })
}

/**
 * @param width how many run at a time
 * @param ahead how many must start before it, after one of those that run has ended
 */
function inTurns(base: number, width: number, times: RunTimes | undefined, ahead: number): StartEstimate | null {
  if (times === undefined || width === 0) return null
  const { meanMs, deviationMs, quickMs, gapMs } = times
  const leastGapMs = meanMs / width
  // What happens between an end and the next start counts too, but not the time in which nothing waited.
  const likelyGapMs = Math.min(Math.max(leastGapMs, gapMs), 3 * leastGapMs + 20)
  const starts = Math.max(0, ahead) + 1
  // The run that ends first has run for a while already.
  const leastMs = Math.max(0, (starts - 1) * (quickMs / width) * QUICKER - deviationMs)
  const likelyMs = (starts - 0.5) * likelyGapMs
  const mostMs = starts * likelyGapMs * SLOWER + meanMs + 2 * deviationMs
  return from(base, { leastMs, likelyMs, mostMs })
}

function from(base: number, { leastMs, likelyMs, mostMs }: Record<'leastMs' | 'likelyMs' | 'mostMs', number>) {
  return { at: base + likelyMs, earliestAt: base + leastMs, latestAt: base + mostMs + DISPATCH_MS }
}
