/**
 * Distributes one change to many members: it visits every member, a few at once or many in portions, so that a task
 * with very many watchers does not block the process.
 *
 * The order of the visits does not matter, because each member knows its position and takes everything that is new to
 * it. A change that arrives during a round in portions is followed by one more round.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'

const MAX_AT_ONCE = 1_000
const PORTION = 250

export interface FanOut {
  /** Visits every member, now or in portions. */
  visitAll(): void
  /** Whether there are members left to visit. */
  isUnderWay(): boolean
}

/**
 * Members may be added and removed at any time.
 * @param visit must not throw
 * @param onVisited called when every member has been visited since the latest change; must not throw
 */
export function createFanOut<Member>(
  members: ReadonlySet<Member>,
  visit: (member: Member) => void,
  onVisited: () => void,
): FanOut {
  let isUnderWay = false
  let isChanged = false

  async function visitInPortions(): Promise<void> {
    do {
      isChanged = false
      let count = 0
      for (const member of members) {
        visit(member)
        count += 1
        if (count % PORTION === 0) await nextTurn()
      }
    } while (isChanged)
    finish()
  }

  function finish(): void {
    isUnderWay = false
    onVisited()
  }

  return {
    visitAll() {
      if (isUnderWay) {
        isChanged = true
        return
      }
      isUnderWay = true
      if (members.size > MAX_AT_ONCE) return void visitInPortions()
      do {
        isChanged = false
        for (const member of members) visit(member)
      } while (isChanged)
      finish()
    },
    isUnderWay: () => isUnderWay,
  }
}
