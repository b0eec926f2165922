/** Where a task stands among those that wait, from the counts of its lane and of the broker. */
import { MAX_COUNTED } from '../../store/release/explain.js'
import type { LaneSize, PlaceRow, Places, QueueLoad } from '../../store/release/places.js'

export interface Place {
  /** About how many are ahead of it, at most `MAX_COUNTED`. */
  ahead: number
  /** Whether there may be more ahead of it. */
  isBound: boolean
  load: QueueLoad
}

/** By task id. */
export function findPlaces({ tasks, lanes, queues }: Places): Map<string, Place> {
  const loads = new Map(queues.map((load) => [load.queue, load]))
  return new Map(
    tasks.map((task) => {
      const load = loads.get(task.queue) ?? { queue: task.queue, running: 0, released: 0, waiting: 0 }
      const ahead = countAhead(task, lanes, load)
      return [task.id, { ahead: Math.min(MAX_COUNTED, ahead), isBound: ahead >= MAX_COUNTED, load }]
    }),
  )
}

function countAhead(task: PlaceRow, lanes: readonly LaneSize[], { released, waiting }: QueueLoad): number {
  if (task.brokerAhead !== null) return task.brokerAhead
  // Not due yet, or beyond what is counted: all that wait now are ahead of it.
  if (task.laneId === null) return waiting
  if (task.laneAhead === null) return MAX_COUNTED
  const competing = lanes.filter(
    ({ queue, priority, blocker, laneId }) =>
      queue === task.queue && priority === task.priority && blocker === task.blocker && laneId !== task.laneId,
  )
  return (task.blocker === '' ? released : 0) + countInTurns(task, task.laneAhead, competing)
}

/**
 * Lanes of a tenant take turns, and so do tenants: while `inLane` tasks of its own lane start, as many of each other
 * lane do, as far as it has them. Weights are ignored.
 */
function countInTurns({ tenant }: PlaceRow, inLane: number, competing: readonly LaneSize[]): number {
  const equal = competing.filter(({ isHigher }) => !isHigher)
  const own = equal.filter((lane) => lane.tenant === tenant)
  const ofTenant = inLane + sum(own.map(({ count }) => Math.min(count, inLane)))
  const others = new Map<string, number>()
  for (const lane of equal)
    if (lane.tenant !== tenant) others.set(lane.tenant, (others.get(lane.tenant) ?? 0) + lane.count)
  const higher = competing.filter(({ isHigher }) => isHigher)
  return (
    ofTenant +
    sum([...others.values()].map((count) => Math.min(count, ofTenant))) +
    sum(higher.map(({ count }) => count))
  )
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0)
}
