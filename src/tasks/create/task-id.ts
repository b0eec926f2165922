/** New task ids: UUIDv7 (RFC 9562), ordered within this process even inside one millisecond. */
import { randomFillSync } from 'node:crypto'
import { v7 } from 'uuid'
import type { TaskId } from '../../protocol/task.js'

/** Random bytes are requested in bulk: a request for 16 bytes costs as much as one for thousands. */
const pool = new Uint8Array(16 * 256)
let used = pool.length
let lastMs = 0
/**
 * RFC 9562 section 6.2, method 1: a counter that starts anywhere in its lower half and counts up within a millisecond.
 */
let counter = 0

export function createTaskId(): TaskId {
  const random = takeRandom()
  const nowMs = Date.now()
  if (nowMs > lastMs) {
    lastMs = nowMs
    counter = new DataView(random.buffer, random.byteOffset).getUint32(0) >>> 1
  } else {
    counter += 1
  }
  return v7({ random, msecs: lastMs, seq: counter })
}

function takeRandom(): Uint8Array {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += 16
  return pool.subarray(used - 16, used)
}
