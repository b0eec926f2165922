/** Decides what becomes of the slots of a schedule that are due. */
import { MAX_SLOTS, type ScheduleSpec, type SlotOutcome } from '../protocol/schedule.js'
import { slotsBetween } from './slots.js'

/** A slot that is made later than this after it was due is late, and `catchUp` decides about it. */
const GRACE_MS = 60_000

/** What the decision depends on. */
export interface SlotSituation {
  spec: ScheduleSpec
  isPaused: boolean
  /** Whether a task of an earlier slot has not ended. */
  hasOpen: boolean
  /** The slots that have been decided about already, in milliseconds since 1970. */
  known: ReadonlySet<number>
}

export interface PlannedSlot {
  slot: number
  outcome: Extract<SlotOutcome, 'created' | 'missed' | 'overlap' | 'paused'>
}

/** @returns the slots that are due, oldest first, each with its outcome; after a long outage only the newest */
export function findDueSlots(spec: ScheduleSpec, firstMs: number, nowMs: number): number[] {
  return slotsBetween(spec, firstMs - 1, nowMs, MAX_SLOTS).slots
}

/** @param due as from `findDueSlots` */
export function planSlots(due: readonly number[], nowMs: number, situation: SlotSituation): PlannedSlot[] {
  const { spec, isPaused, hasOpen, known } = situation
  const isMadeUpFor = chooseLate(due, nowMs, spec)
  const undecided = due.filter((slot) => !known.has(slot))
  if (isPaused) return undecided.map((slot) => ({ slot, outcome: 'paused' }))
  const wanted = undecided.filter((slot) => !isLate(slot, nowMs) || isMadeUpFor.has(slot))
  const created = new Set(chooseBeside(wanted, spec.overlap, hasOpen))
  return undecided.map((slot) => ({
    slot,
    outcome: created.has(slot) ? 'created' : wanted.includes(slot) ? 'overlap' : 'missed',
  }))
}

/** The slots that get a task beside, or instead of, those of earlier ones. */
function chooseBeside(
  wanted: readonly number[],
  overlap: ScheduleSpec['overlap'],
  hasOpen: boolean,
): readonly number[] {
  if (overlap === 'skip') return hasOpen ? [] : wanted.slice(0, 1)
  return overlap === 'replace' ? wanted.slice(-1) : wanted
}

function isLate(slot: number, nowMs: number): boolean {
  return nowMs - slot > GRACE_MS
}

/** The late slots that get a task. */
function chooseLate(due: readonly number[], nowMs: number, { catchUp, maxCatchUp }: ScheduleSpec): Set<number> {
  const late = due.filter((slot) => isLate(slot, nowMs))
  if (catchUp === 'all') return new Set(late.slice(-maxCatchUp))
  // The last one of all that are due: if another is on time, that one is the last.
  return new Set(catchUp === 'last' && late.length === due.length ? late.slice(-1) : [])
}
