/** The building blocks of every transport: addresses, a WebSocket, a response of server-sent events. */

/** The `readyState` of a WebSocket that has not opened yet. */
const CONNECTING = 0

/** The address of a path of the server. Throws if it cannot be determined. */
export function urlOf(baseUrl = globalThis.location?.origin, path) {
  if (!baseUrl) throw new TypeError('Outside a browser, pass baseUrl: the address of the server')
  return new URL(path, baseUrl.endsWith('/') ? baseUrl : `${baseUrl}/`).href
}

export function openSocket(address, options, { onOpen, onMessage, onClose }) {
  const url = new URL(address)
  url.protocol = url.protocol.replace('http', 'ws')
  const socket = new (options.WebSocket ?? WebSocket)(url.href)
  socket.onopen = onOpen
  socket.onmessage = (event) => onMessage(parse(event.data))
  socket.onclose = (event) => onClose(event.code, event.reason)
  socket.onerror = () => {} // `close` follows, with the reason
  return {
    send: (message) => socket.send(JSON.stringify(message)),
    close(isPatient) {
      socket.onopen = socket.onmessage = socket.onclose = null
      // A browser logs a warning if a socket is closed before it has opened.
      if (isPatient && socket.readyState === CONNECTING) socket.onopen = () => socket.close()
      else socket.close()
    },
  }
}

/**
 * Reads a response of server-sent events to its end, or until the signal aborts. Calls `onSign` for any data, and
 * `onMessage` for each message. Resolves with the last delay that the server requested, which is the one of a
 * restarting server; '' if it requested none.
 */
export async function readEventStream(body, signal, { onSign, onMessage }) {
  let text = ''
  let retryMs = ''
  const reader = body.getReader()
  const decoder = new TextDecoder()
  for (;;) {
    const { value, done } = await reader.read()
    if (done || signal.aborted) return retryMs
    onSign()
    text += decoder.decode(value, { stream: true })
    const blocks = text.split('\n\n')
    text = blocks.pop()
    for (const block of blocks) {
      const data = /^data: ?(.*)$/m.exec(block)?.[1]
      // The delay requested at the start of the response is meant for an EventSource, not for this client.
      if (data === undefined) retryMs = /^retry: ?(\d+)$/m.exec(block)?.[1] ?? retryMs
      else {
        retryMs = ''
        if (!signal.aborted) onMessage(parse(data))
      }
    }
  }
}

/** Undefined if it is not JSON. */
function parse(data) {
  try {
    return JSON.parse(data)
  } catch {
    return undefined
  }
}

/**
 * The names of the transports to try, in order.
 * @param known the transports that exist, by name
 * @throws RangeError if the options name another, or none; TypeError if none is left
 */
export function chooseTransports(known, { transports, WebSocket }) {
  const names = [transports ?? Object.keys(known)].flat()
  const unknown = names.filter((name) => !Object.hasOwn(known, name))
  if (unknown.length > 0)
    throw new RangeError(`There is no transport ${unknown[0]}: use ${Object.keys(known).join(', ')}`)
  if (names.length === 0) throw new RangeError(`transports is empty: use ${Object.keys(known).join(', ')}`)
  const usable = names.filter((name) => name !== 'websocket' || (WebSocket ?? globalThis.WebSocket))
  if (usable.length === 0)
    throw new TypeError('There is no WebSocket in this environment: pass one, or allow other transports')
  return usable
}
