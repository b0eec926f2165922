/** The transports of `live.js`: a WebSocket, or a response of server-sent events. */
import { BROKEN, DEFAULT_LIST_ROWS, MAX_IDS_IN_URL } from '../protocol.js'
import { openSocket, readEventStream, urlOf } from './connections.js'
import { openSlot } from './stream-slots.js'

/**
 * A stream without a slot ends this long after the list and every task have been received, and in any case after the
 * longest time.
 */
const BRIEF_MS = { begun: 250, longest: 20_000 }

/**
 * The transports to the server. `watchesOf` returns the watches. `changed(oldId, watch)` says that the subscription
 * with the old id is gone, and that the watch needs a new one; either may be missing.
 */
export const LINKS = { websocket: linkBySocket, events: linkByEvents }

function linkBySocket(options, watchesOf, { onMessage, onClose }) {
  let isOpen = false
  const socket = openSocket(urlOf(options.baseUrl, 'ws/tasks'), options, {
    onOpen() {
      isOpen = true
      for (const watch of watchesOf()) socket.send(watch.request())
    },
    onMessage,
    onClose,
  })
  return {
    changed(oldId, watch) {
      if (!isOpen) return
      if (oldId !== undefined) socket.send({ type: 'unsubscribe', id: oldId })
      if (watch !== undefined) socket.send(watch.request())
    },
    ping: () => isOpen && socket.send({ type: 'ping', id: 'ping' }),
    close: () => socket.close(true),
  }
}

/**
 * A response carries one list and any number of tasks. When the watched set changes, it is requested again. A page that
 * may not hold a stream for each list (see `stream-slots.js`) reads the beginning of each every few seconds.
 */
function linkByEvents(options, watchesOf, { onSign, onMessage, onClose }) {
  let current = new AbortController()
  let timer
  const slots = [openSlot(urlOf(options.baseUrl, ''), () => rest(0))]
  let asking = Promise.resolve()

  /** Resolves with whether there are as many as that; if not, none is kept. */
  async function takeSlots(count) {
    while (slots.length < count) slots.push(openSlot(urlOf(options.baseUrl, ''), () => {}))
    for (const slot of slots.slice(count)) slot.leave()
    for (const slot of slots.slice(0, count)) {
      if (await slot.take()) continue
      for (const each of slots) each.leave()
      return false
    }
    return true
  }

  async function open() {
    clearTimeout(timer)
    current.abort()
    current = new AbortController()
    const { signal } = current
    const lists = watchesOf().filter((watch) => watch.list !== undefined)
    const tasks = watchesOf()
      .filter((watch) => watch.taskId !== undefined)
      .slice(0, MAX_IDS_IN_URL)
    const [first, ...others] = lists
    const groups = [
      ...(first || tasks.length > 0 ? [{ list: first, tasks }] : []),
      ...others.map((list) => ({ list, tasks: [] })),
    ]
    const isBrief = !(await (asking = asking.then(() => takeSlots(groups.length))))
    if (signal.aborted) return
    const endAfter = (delayMs) => {
      clearTimeout(timer)
      timer = setTimeout(() => rest(slots[0].pollMs()), delayMs)
    }
    if (isBrief) endAfter(BRIEF_MS.longest)
    let begunCount = 0
    const onBegun = () => ++begunCount === groups.length && isBrief && endAfter(BRIEF_MS.begun)
    for (const group of groups) {
      follow(group, signal, onBegun).then(
        (retryMs) => signal.aborted || onClose(BROKEN, retryMs && `retryAfterMs=${retryMs}`),
        () => signal.aborted || onClose(BROKEN, ''),
      )
    }
  }

  /** Ends the current response, and starts a new one after the delay. */
  function rest(pauseMs) {
    clearTimeout(timer)
    current.abort()
    timer = setTimeout(open, pauseMs)
  }

  async function follow({ list, tasks }, signal, onBegun) {
    const response = await (options.fetch ?? fetch)(
      urlOf(options.baseUrl, `api/tasks/events?${queryOf(list, tasks)}`),
      { headers: { accept: 'text/event-stream' }, cache: 'no-store', signal },
    )
    if (response.status === 400) {
      const problem = await response.json().catch(() => ({}))
      for (const watch of list ? [list] : tasks)
        onMessage({ type: 'refused', id: watch.id, code: 'invalid_request', detail: problem.detail })
      return ''
    }
    if (!response.ok || response.status === 204) return ''
    const untold = new Set([...(list ? ['list'] : []), ...tasks.map(({ taskId }) => taskId)])
    const onEach = (message) => {
      tell(message, list)
      if (untold.size === 0) return
      for (const name of [message?.type, message?.taskId, ...(message?.missing ?? [])]) untold.delete(name)
      if (untold.size === 0) onBegun()
    }
    return readEventStream(response.body, signal, { onSign, onMessage: onEach })
  }

  function tell(message, list) {
    if (message?.type === 'subscribed') onMessage({ ...message, id: message.list === undefined ? undefined : list?.id })
    else onMessage(message)
  }

  open()
  return {
    changed() {
      clearTimeout(timer)
      timer = setTimeout(open)
    },
    ping() {},
    close() {
      clearTimeout(timer)
      current.abort()
      for (const slot of slots) slot.close()
    },
  }
}

function queryOf(list, tasks) {
  const { filter = {}, limit = DEFAULT_LIST_ROWS, before } = list?.list ?? {}
  const query = new URLSearchParams(
    list ? { list: limit, ...filter, ...(before !== undefined && { cursor: before }) } : {},
  )
  if (tasks.length > 0) {
    const versions = new Map(tasks.map(({ taskId, task }) => [taskId, task?.version ?? 0]))
    query.set('ids', [...versions.keys()].join())
    query.set('since', [...versions.values()].join())
  }
  return query
}
