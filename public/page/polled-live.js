/** Stands in for the client's own lists until those are there: the newest tasks, read each second. */
import { watchTask } from '../task-stream.js'
import { getJson } from './api.js'
export function openLive({ baseUrl, onConnection }) {
  return {
    watchTask: (id, options) => watchTask(id, { baseUrl, ...options }),
    retryNow() {},
    watchList(list, { onChange }) {
      let timer
      let current = list
      let isClosed = false
      const poll = async () => {
        clearTimeout(timer)
        const asked = current
        try {
          const { items, nextCursor } = await getJson(`/api/tasks?${new URLSearchParams({ limit: current.limit, ...current.filter })}`)
          if (isClosed) return
          onConnection({ state: 'live', text: 'Live' })
          if (asked === current) onChange({ view: { items, nextCursor, newer: 0, counts: null } })
        } catch {
          onConnection({ state: 'away', text: 'Server away', retryAt: Date.now() + 500 })
        }
        if (!isClosed) timer = setTimeout(poll, 1_000)
      }
      poll()
      return { change: (next) => ((current = next), poll()), close: () => ((isClosed = true), clearTimeout(timer)) }
    },
  }
}
