/**
 * One change to many: visits every member, a few at once or many in portions, so that a task with very many watchers
 * does not hold up everything else in the process.
 *
 * The order in which members are visited is of no consequence, because each knows where it stands and takes all that it
 * has not had yet. A change that comes during a round in portions is followed by one more round.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'

const MAX_AT_ONCE = 1_000
const PORTION = 250

/** `visit` must not throw. Members may come and go at any time. */
export function createFanOut<Member>(members: ReadonlySet<Member>, visit: (member: Member) => void): () => void {
  let isUnderWay = false
  let isChanged = false

  async function visitInPortions(): Promise<void> {
    isUnderWay = true
    do {
      isChanged = false
      let count = 0
      for (const member of members) {
        visit(member)
        count += 1
        if (count % PORTION === 0) await nextTurn()
      }
    } while (isChanged)
    isUnderWay = false
  }

  return function fanOut() {
    if (isUnderWay) isChanged = true
    else if (members.size > MAX_AT_ONCE) void visitInPortions()
    else for (const member of members) visit(member)
  }
}
