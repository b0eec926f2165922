/**
 * The newest tasks, kept current. The first page is read again every 2 s while the page is visible, which finds new
 * tasks; a stream follows each unfinished task among them (at most 20), so that a change of status shows at once.
 *
 * Both are folded by the same rule, so a page that was read before a change arrived on a stream takes nothing back.
 */
import { fold, isFinal, watchTask } from '../task-stream.js'
import { baseUrl, getJson } from './api.js'

const POLL_MS = 2_000
const PAGE_SIZE = 50
const MAX_STREAMS = 20
const MAX_EMPTY_PAGES = 5

/**
 * Starts reading. `onTasks({ tasks, hasMore })` gets the tasks, newest first, at each change; `onConnection` whether the
 * server answers, in the words of a stream's connection.
 */
export function startTaskFeed({ status, type, onTasks, onConnection }) {
  const tasks = new Map()
  const streams = new Map()
  const stopped = new AbortController()
  let nextCursor = null
  let isPolling = false
  let timer

  const read = async (cursor) => {
    const query = new URLSearchParams({ limit: PAGE_SIZE, ...(status && { status }), ...(type && { type }), ...(cursor && { cursor }) })
    for (let page, turn = 1; ; turn += 1) {
      page = await getJson(`/api/tasks?${query}`, { signal: stopped.signal })
      stopped.signal.throwIfAborted()
      // A page may be empty and not the last, where what fits lies far back.
      if (page.items.length > 0 || page.nextCursor === null || turn === MAX_EMPTY_PAGES) return page
      query.set('cursor', page.nextCursor)
    }
  }
  const keep = (task) => {
    const held = tasks.get(task.id)
    if (streams.has(task.id) && held.version === task.version) return // the stream's progress is the newer one
    tasks.set(task.id, fold(held, { type: 'snapshot', version: task.version, task }).task)
  }
  const report = () => {
    const sorted = [...tasks.values()].sort((a, b) => (a.id < b.id ? 1 : -1)) // ids are ordered by creation
    followUnfinished(sorted)
    onTasks({ tasks: sorted, hasMore: nextCursor !== null })
  }

  const followUnfinished = (sorted) => {
    const wanted = new Set(sorted.filter((task) => !isFinal(task.status)).slice(0, MAX_STREAMS).map((task) => task.id))
    for (const [id, stream] of streams) {
      if (wanted.has(id)) continue
      streams.delete(id)
      stream.close()
    }
    for (const id of wanted) if (!streams.has(id)) streams.set(id, follow(tasks.get(id)))
  }
  const follow = (task) =>
    watchTask(task.id, {
      baseUrl,
      task,
      onChange(change) {
        tasks.set(task.id, change.task)
        report()
      },
    })

  const poll = async () => {
    if (isPolling) return
    isPolling = true
    clearTimeout(timer)
    try {
      const page = await read()
      nextCursor = mergeFirstPage(tasks, page, nextCursor)
      page.items.forEach(keep)
      for (const stream of streams.values()) stream.retryNow()
      report()
      onConnection({ state: 'live', text: 'Live' })
    } catch {
      if (stopped.signal.aborted) return
      onConnection({ state: 'away', text: 'Server away', retryAt: Date.now() + POLL_MS })
    }
    isPolling = false
    if (!document.hidden) timer = setTimeout(poll, POLL_MS)
  }
  document.addEventListener('visibilitychange', () => document.hidden || poll(), { signal: stopped.signal })
  poll()

  return {
    /** Adds the next page. Throws when the server does not give it. */
    async loadMore() {
      if (nextCursor === null) return
      const page = await read(nextCursor)
      nextCursor = page.nextCursor
      page.items.forEach(keep)
      report()
    },
    /** Shows a task that was just created without waiting for the next reading. */
    add(task) {
      if ((status && status !== task.status) || (type && type !== task.type)) return
      keep(task)
      report()
    },
    stop() {
      stopped.abort()
      clearTimeout(timer)
      for (const stream of streams.values()) stream.close()
    },
  }
}

/**
 * Forgets the tasks that the first page shows to be gone (another status than the filter's, deleted), and everything when
 * more tasks came than fit a page, for what lies between is unknown. Returns the cursor that continues what is left.
 */
function mergeFirstPage(tasks, page, nextCursor) {
  const listed = new Set(page.items.map((task) => task.id))
  const isWhole = page.nextCursor === null
  const isConnected = isWhole || page.items.some((task) => tasks.has(task.id))
  const oldestId = page.items.at(-1)?.id
  for (const id of tasks.keys()) {
    if (listed.has(id)) continue
    if (isWhole || !isConnected || id > oldestId) tasks.delete(id)
  }
  return isWhole || !isConnected || tasks.size === 0 ? page.nextCursor : nextCursor
}
