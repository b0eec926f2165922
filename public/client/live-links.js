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
export const LINKS = {
  websocket: linkBySocket,
  events: (options, watchesOf, listener) => new EventsLink(options, watchesOf, listener),
}

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
class EventsLink {
  #options
  #watchesOf
  #listener
  #slots
  #asking = Promise.resolve()
  /** Ends the current responses. */
  #current = new AbortController()
  /** The timer of the next request, or of the end of brief responses. */
  #timer

  constructor(options, watchesOf, listener) {
    this.#options = options
    this.#watchesOf = watchesOf
    this.#listener = listener
    this.#slots = [openSlot(urlOf(options.baseUrl, ''), () => this.#rest(0))]
    this.#open()
  }

  changed() {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#open())
  }

  ping() {}

  close() {
    clearTimeout(this.#timer)
    this.#current.abort()
    for (const slot of this.#slots) slot.close()
  }

  async #open() {
    clearTimeout(this.#timer)
    this.#current.abort()
    this.#current = new AbortController()
    const { signal } = this.#current
    const groups = groupByResponse(this.#watchesOf())
    const isBrief = !(await (this.#asking = this.#asking.then(() => this.#takeSlots(groups.length, signal))))
    if (signal.aborted) return
    if (isBrief) this.#endAfter(BRIEF_MS.longest)
    let begunCount = 0
    const onBegun = () => ++begunCount === groups.length && isBrief && this.#endAfter(BRIEF_MS.begun)
    for (const group of groups) {
      this.#follow(group, signal, onBegun).then(
        (retryMs) => signal.aborted || this.#listener.onClose(BROKEN, retryMs && `retryAfterMs=${retryMs}`),
        () => signal.aborted || this.#listener.onClose(BROKEN, ''),
      )
    }
  }

  /** Resolves with whether there are as many as that; if not, none is kept. None is opened once the link is closed. */
  async #takeSlots(count, signal) {
    if (signal.aborted) return false
    const slots = this.#slots
    while (slots.length < count) slots.push(openSlot(urlOf(this.#options.baseUrl, ''), () => {}))
    for (const slot of slots.slice(count)) slot.leave()
    for (const slot of slots.slice(0, count)) {
      if (await slot.take()) continue
      for (const each of slots) each.leave()
      return false
    }
    return true
  }

  #endAfter(delayMs) {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#rest(this.#slots[0].pollMs()), delayMs)
  }

  /** Ends the current responses, and requests new ones after the delay. */
  #rest(pauseMs) {
    clearTimeout(this.#timer)
    this.#current.abort()
    this.#timer = setTimeout(() => this.#open(), pauseMs)
  }

  /** Resolves when the server has ended the response, with the delay it requested. */
  async #follow({ list, tasks }, signal, onBegun) {
    const { onSign, onMessage } = this.#listener
    const response = await (this.#options.fetch ?? fetch)(
      urlOf(this.#options.baseUrl, `api/tasks/events?${queryOf(list, tasks)}`),
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
      onMessage(withIdOf(list, message))
      if (untold.size === 0) return
      for (const name of [message?.type, message?.taskId, ...(message?.missing ?? [])]) untold.delete(name)
      if (untold.size === 0) onBegun()
    }
    return readEventStream(response.body, signal, { onSign, onMessage: onEach })
  }
}

/** The first list shares its response with the tasks; each other list has its own. */
function groupByResponse(watches) {
  const [first, ...others] = watches.filter((watch) => watch.list !== undefined)
  const tasks = watches.filter((watch) => watch.taskId !== undefined).slice(0, MAX_IDS_IN_URL)
  return [
    ...(first || tasks.length > 0 ? [{ list: first, tasks }] : []),
    ...others.map((list) => ({ list, tasks: [] })),
  ]
}

/** Over a socket, the answer to a subscription names its id. */
function withIdOf(list, message) {
  if (message?.type !== 'subscribed') return message
  return { ...message, id: message.list === undefined ? undefined : list?.id }
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
