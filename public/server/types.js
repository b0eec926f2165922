/** The task types, read once for all parts that need them from the start. */
import { readUntilDone } from './api.js'

const listeners = new Set()
let answer

/** Calls `onRead` with the answer of `/api/types`, and `onFailure` with each error before it. */
export function whenTypesKnown({ onRead, onFailure = () => {} }) {
  if (answer !== undefined) return onRead(answer)
  listeners.add({ onRead, onFailure })
  if (listeners.size > 1) return
  readUntilDone('/api/types', {
    onRead(read) {
      answer = read
      for (const listener of listeners) listener.onRead(read)
    },
    onFailure(error) {
      for (const listener of listeners) listener.onFailure(error)
    },
  })
}
