/** Where a task stands among those that wait, from the counts of its lane and of the broker. */
import { MAX_COUNTED, type LimitFacts } from '../../store/release/explain.js'
import type { LaneSize, PlaceRow, Places, QueueLoad } from '../../store/release/places.js'

export interface Place {
  /** About how many are ahead of it, at most `MAX_COUNTED`. */
  ahead: number
  /** Whether there may be more ahead of it. */
  isBound: boolean
  /** About what those cost that are ahead of it, if it waits for a rate; else how many they are. */
  costAhead: number
  load: QueueLoad
  /** About how many are ahead of it among those that this limit counts; 0 when it is in no lane. */
  countAheadUnder(limit: LimitFacts): number
}

/** By task id. */
export function findPlaces(places: Places): Map<string, Place> {
  const loads = new Map(places.queues.map((load) => [load.queue, load]))
  return new Map(
    places.tasks.map((task) => {
      const load = loads.get(task.queue) ?? { queue: task.queue, running: 0, released: 0, waiting: 0 }
      return [task.id, findPlace(task, load, places)]
    }),
  )
}

function findPlace(task: PlaceRow, load: QueueLoad, { lanes, costs }: Places): Place {
  const group = lanes.filter(
    ({ queue, priority, blocker, wasBlockedBy }) =>
      queue === task.queue &&
      priority === task.priority &&
      blocker === task.blocker &&
      wasBlockedBy === task.wasBlockedBy,
  )
  const ahead = Math.min(MAX_COUNTED, countAhead(task, group, load))
  const mean = costs.find(
    ({ queue, priority, blocker }) => queue === task.queue && priority === task.priority && blocker === task.blocker,
  )
  return {
    ahead,
    isBound: ahead >= MAX_COUNTED,
    costAhead: costOf(task, ahead, mean?.mean),
    load,
    countAheadUnder: (limit) => {
      if (task.laneId === null || task.brokerAhead !== null) return 0
      const counted = group.filter((lane) => isCounted(lane, task, limit))
      return Math.min(MAX_COUNTED, countInTurns(task, task.laneAhead ?? MAX_COUNTED, counted))
    },
  }
}

function countAhead(task: PlaceRow, lanes: readonly LaneSize[], { released, waiting }: QueueLoad): number {
  if (task.brokerAhead !== null) return task.brokerAhead
  // Not due yet, or beyond what is counted: all that wait now are ahead of it.
  if (task.laneId === null) return waiting
  if (task.laneAhead === null) return MAX_COUNTED
  return (task.blocker === '' ? released : 0) + countInTurns(task, task.laneAhead, lanes)
}

/** The first of its own lane as they are, and all others as the average of those that were read. */
function costOf({ laneCost, laneCosted }: PlaceRow, ahead: number, mean: number | undefined): number {
  const costed = Math.min(ahead, laneCosted ?? 0)
  const cost = laneCost ?? 0
  return cost + (ahead - costed) * (mean ?? (costed === 0 ? 1 : cost / costed))
}

/** As `taskwire.applies` and `taskwire.subject_of`. The limit counts the task itself. */
function isCounted(lane: LaneSize, task: PlaceRow, { types, queue, tenant, per }: LimitFacts): boolean {
  return (
    (types === null || types.includes(lane.type)) &&
    (queue === null || queue === lane.queue) &&
    (tenant === null || tenant === lane.tenant) &&
    (per === 'all' || (lane.tenant === task.tenant && (per === 'tenant' || lane.key === task.key)))
  )
}

/**
 * Lanes of a tenant take turns, and so do tenants: while `inLane` tasks of its own lane start, as many of each other
 * lane do, and one more of those whose turn comes first, as far as it has them. Weights are ignored.
 * @param group the lanes that compete, with its own
 */
function countInTurns({ tenant, laneId }: PlaceRow, inLane: number, group: readonly LaneSize[]): number {
  const equal = group.filter(({ isHigher }) => !isHigher)
  // One that the release does not know yet has not had a turn.
  const ownTurn = equal.find((lane) => lane.laneId === laneId)?.turn ?? 0
  const own = equal.filter((lane) => lane.tenant === tenant && lane.laneId !== laneId)
  const ofTenant = inLane + sum(own.map(({ count, turn }) => Math.min(count, turn < ownTurn ? inLane + 1 : inLane)))
  const tenantTurn = Math.min(ownTurn, ...own.map(({ turn }) => turn))
  const others = new Map<string, { count: number; turn: number }>()
  for (const lane of equal)
    if (lane.tenant !== tenant) {
      const { count, turn } = others.get(lane.tenant) ?? { count: 0, turn: lane.turn }
      others.set(lane.tenant, { count: count + lane.count, turn: Math.min(turn, lane.turn) })
    }
  const higher = group.filter(({ isHigher }) => isHigher)
  return (
    ofTenant +
    sum([...others.values()].map(({ count, turn }) => Math.min(count, turn < tenantTurn ? ofTenant + 1 : ofTenant))) +
    sum(higher.map(({ count }) => count))
  )
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0)
}
