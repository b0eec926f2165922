/**
 * The transports of a stream. Each opens one connection that starts after `since` and reports its messages; after
 * `close` it reports nothing.
 */
import { openSocket, readEventStream, urlOf } from './connections.js'
import { BROKEN, MAX_SILENCE_MS } from '../protocol.js'
import { openSlot } from './stream-slots.js'

/** Shorter than the longest silence, so that an answer arrives in time. */
const MAX_POLL_SECONDS = 24

export const TRANSPORTS = { websocket: openWebSocket, events: openEvents, poll: openPoll }

function openWebSocket(id, since, options, listener) {
  return openSocket(
    urlOf(options.baseUrl, `ws/tasks/${encodeURIComponent(id)}${toQuery(since, options)}`),
    options,
    listener,
  )
}

function toQuery(since, { logs }) {
  const query = new URLSearchParams({ ...(since !== undefined && { since }), ...(logs && { logs: 1 }) })
  return query.size > 0 ? `?${query}` : ''
}

/** Server-sent events over `fetch`, because an EventSource hides why it fails and reconnects by its own rules. */
function openEvents(id, since, options, listener) {
  return openInTurns(id, since, options, listener, async (told, { onOpen, onSign, onMessage }, signal) => {
    const url = urlOf(options.baseUrl, `api/tasks/${encodeURIComponent(id)}/events${toQuery(told.version, options)}`)
    const response = await (options.fetch ?? fetch)(url, {
      headers: { accept: 'text/event-stream' },
      cache: 'no-store',
      signal,
    })
    if (!response.ok) return ''
    onOpen()
    if (response.status === 204) return ''
    return readEventStream(response.body, signal, { onSign, onMessage })
  })
}

/**
 * Long polling: requests the task again and again, each answered as soon as its version has changed; the versions
 * between are then requested.
 */
function openPoll(id, since, options, listener) {
  return openInTurns(id, since, options, listener, async (told, tell, signal) => {
    const waitSeconds = Math.max(1, Math.min(MAX_POLL_SECONDS, Math.floor(quietMs(options) / 1_000)))
    while (await readTask(id, told.version, options, tell, signal, waitSeconds));
    return ''
  })
}

/** Well below the silence after which a connection counts as lost. */
const quietMs = ({ silenceMs = MAX_SILENCE_MS }) => silenceMs * 0.8

/** Tells of the task as it stands, or as soon as it changes, and resolves with whether it could be read. */
async function readTask(id, version, options, { onOpen, onMessage }, signal, waitSeconds) {
  const path = `api/tasks/${encodeURIComponent(id)}`
  const read = async (url) => {
    const response = await (options.fetch ?? fetch)(urlOf(options.baseUrl, url), {
      headers: { accept: 'application/json' },
      cache: 'no-store',
      signal,
    })
    return response.ok ? response.json() : undefined
  }
  const answer = await read(
    version === undefined || waitSeconds === 0 ? path : `${path}?wait=${waitSeconds}&since=${version}`,
  )
  if (answer === undefined) return false
  const { waitingFor, ...task } = answer
  onOpen()
  if (version !== undefined && task.version > version + 1) {
    const { items = [] } = (await read(`${path}/events`)) ?? {}
    const between = items.filter((item) => item.version > version && item.version < task.version)
    for (const item of between) onMessage({ type: 'transition', taskId: task.id, ...item })
  }
  const head = { taskId: task.id, status: task.status, version: task.version }
  onMessage({ type: 'snapshot', ...head, task })
  if (waitingFor) onMessage({ type: 'waiting', ...head, waitingFor })
  return true
}

/**
 * A transport that keeps a connection of the browser: `stream` is called while the page may hold one (see
 * `stream-slots.js`), and continues after `told.version`. Otherwise the task is read every few seconds.
 */
function openInTurns(id, since, options, listener, stream) {
  const told = { version: since }
  let turn = new AbortController()
  const slot = openSlot(urlOf(options.baseUrl, ''), () => turn.abort())

  /** Until the pause is over, or the page is shown or hidden. */
  const pause = (delayMs, signal) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, delayMs)
      signal.addEventListener('abort', () => resolve(clearTimeout(timer)))
    })

  /** Resolves with the pause that the server wants when it has ended the stream, and with undefined when the turn is over. */
  const takeTurn = async (tell, { signal }) => {
    if (await slot.take()) return stream(told, tell, signal)
    if (!(await readTask(id, told.version, options, tell, signal, 0))) return ''
    await pause(Math.min(slot.pollMs(), quietMs(options)), signal)
    return undefined
  }

  const requests = openRequests(listener, async ({ onMessage, ...rest }, signal) => {
    const tell = {
      ...rest,
      onMessage(message) {
        told.version = message?.version ?? told.version
        onMessage(message)
      },
    }
    while (!signal.aborted) {
      const current = (turn = new AbortController())
      const retryMs = await takeTurn(tell, current).catch((error) => {
        if (!current.signal.aborted) throw error
      })
      if (retryMs !== undefined && !current.signal.aborted) return retryMs
    }
    return ''
  })
  return {
    close() {
      requests.close()
      turn.abort()
      slot.close()
    },
  }
}

/** `follow` resolves when the server has ended the stream, with the delay it requested. */
function openRequests(listener, follow) {
  const controller = new AbortController()
  const { signal } = controller
  const whileOpen = (tell) => (value) => signal.aborted || tell(value)
  follow(
    {
      onOpen: whileOpen(listener.onOpen),
      onSign: whileOpen(listener.onSign),
      onMessage: whileOpen(listener.onMessage),
    },
    signal,
  ).then(
    (retryMs) => signal.aborted || listener.onClose(BROKEN, retryMs && `retryAfterMs=${retryMs}`),
    () => signal.aborted || listener.onClose(BROKEN, ''),
  )
  return { close: () => controller.abort() }
}
