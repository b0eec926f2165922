/** The ways of `live.js` to the server: a WebSocket, or a response of server-sent events. */
import { openSocket, readEventStream, urlOf } from './connections.js'

/** How many tasks a stream of server-sent events names. */
const MAX_IDS_IN_URL = 200

/**
 * The ways to the server. `watchesOf` gives the watches; `changed(oldId, watch)` says that the subscription of this id is gone, and that the
 * watch has one to be made; either may be missing.
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

/** A response carries one list and any number of tasks. When what is watched changes, it is asked for anew. */
function linkByEvents(options, watchesOf, { onSign, onMessage, onClose }) {
  let current = new AbortController()
  let timer

  function open() {
    clearTimeout(timer)
    current.abort()
    current = new AbortController()
    const { signal } = current
    const lists = watchesOf().filter((watch) => watch.list !== undefined)
    const tasks = watchesOf().filter((watch) => watch.taskId !== undefined).slice(0, MAX_IDS_IN_URL)
    const [first, ...others] = lists
    const groups = [...(first || tasks.length > 0 ? [{ list: first, tasks }] : []), ...others.map((list) => ({ list, tasks: [] }))]
    for (const group of groups) {
      follow(group, signal).then(
        (retryMs) => signal.aborted || onClose(1006, retryMs && `retryAfterMs=${retryMs}`),
        () => signal.aborted || onClose(1006, ''),
      )
    }
  }

  async function follow({ list, tasks }, signal) {
    const response = await (options.fetch ?? fetch)(urlOf(options.baseUrl, `api/tasks/events?${queryOf(list, tasks)}`), { headers: { accept: 'text/event-stream' }, cache: 'no-store', signal })
    if (response.status === 400) {
      const problem = await response.json().catch(() => ({}))
      for (const watch of list ? [list] : tasks) onMessage({ type: 'refused', id: watch.id, code: 'invalid_request', detail: problem.detail })
      return ''
    }
    if (!response.ok || response.status === 204) return ''
    return readEventStream(response.body, signal, { onSign, onMessage: (message) => tell(message, list) })
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
    },
  }
}

function queryOf(list, tasks) {
  const { filter = {}, limit = 50, before } = list?.list ?? {}
  const query = new URLSearchParams(list ? { list: limit, ...filter, ...(before !== undefined && { cursor: before }) } : {})
  if (tasks.length > 0) {
    const versions = new Map(tasks.map(({ taskId, task }) => [taskId, task?.version ?? 0]))
    query.set('ids', [...versions.keys()].join())
    query.set('since', [...versions.values()].join())
  }
  return query
}
