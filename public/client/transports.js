/**
 * The ways to a stream. Each opens one connection that begins after `since` and tells of it; after `close` it tells of
 * nothing any more.
 */
import { openSocket, readEventStream, urlOf } from './connections.js'
import { BROKEN, MAX_SILENCE_MS } from '../protocol.js'

/** An answer comes in less than the longest silence. */
const MAX_POLL_SECONDS = 24

export const TRANSPORTS = { websocket: openWebSocket, events: openEvents, poll: openPoll }

function openWebSocket(id, since, options, line) {
  return openSocket(urlOf(options.baseUrl, `ws/tasks/${encodeURIComponent(id)}${toQuery(since, options)}`), options, line)
}

function toQuery(since, { logs }) {
  const query = new URLSearchParams({ ...(since !== undefined && { since }), ...(logs && { logs: 1 }) })
  return query.size > 0 ? `?${query}` : ''
}

/** Server-sent events over `fetch`, because an EventSource hides why it fails and reconnects as it likes. */
function openEvents(id, since, options, line) {
  return openRequests(line, async ({ onOpen, onSign, onMessage }, signal) => {
    const url = urlOf(options.baseUrl, `api/tasks/${encodeURIComponent(id)}/events${toQuery(since, options)}`)
    const response = await (options.fetch ?? fetch)(url, { headers: { accept: 'text/event-stream' }, cache: 'no-store', signal })
    if (!response.ok) return ''
    onOpen()
    if (response.status === 204) return ''
    return readEventStream(response.body, signal, { onSign, onMessage })
  })
}

/** Long polls: the task again and again, as soon as its version has changed; what lay between is asked for. */
function openPoll(id, since, options, line) {
  return openRequests(line, async ({ onOpen, onMessage }, signal) => {
    const path = `api/tasks/${encodeURIComponent(id)}`
    const read = async (url) => {
      const response = await (options.fetch ?? fetch)(urlOf(options.baseUrl, url), { headers: { accept: 'application/json' }, cache: 'no-store', signal })
      return response.ok ? response.json() : undefined
    }
    const waitSeconds = Math.max(1, Math.min(MAX_POLL_SECONDS, Math.floor(((options.silenceMs ?? MAX_SILENCE_MS) / 1_000) * 0.8)))
    for (let version = since; ; ) {
      const task = await read(version === undefined ? path : `${path}?wait=${waitSeconds}&since=${version}`)
      if (task === undefined) return ''
      onOpen()
      if (version !== undefined && task.version > version + 1) {
        const { items = [] } = (await read(`${path}/events`)) ?? {}
        const between = items.filter((item) => item.version > version && item.version < task.version)
        for (const item of between) onMessage({ type: 'transition', taskId: task.id, ...item })
      }
      onMessage({ type: 'snapshot', taskId: task.id, status: task.status, version: task.version, task })
      version = task.version
    }
  })
}

/** `follow` resolves when the server has ended what it follows, with the pause it wants. */
function openRequests(line, follow) {
  const controller = new AbortController()
  const { signal } = controller
  const whileOpen = (tell) => (value) => signal.aborted || tell(value)
  follow({ onOpen: whileOpen(line.onOpen), onSign: whileOpen(line.onSign), onMessage: whileOpen(line.onMessage) }, signal).then(
    (retryMs) => signal.aborted || line.onClose(BROKEN, retryMs && `retryAfterMs=${retryMs}`),
    () => signal.aborted || line.onClose(BROKEN, ''),
  )
  return { close: () => controller.abort() }
}
