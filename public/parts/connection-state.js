/** The state of the page's connection to the server, in the header. */
import { serverNow } from '../server/api.js'
import { onPageConnection, pageConnection } from '../server/connection.js'
import { describeConnection } from '../format/standing.js'
import { connection as text } from '../text/en.js'
import { onTick } from './clock.js'
import { setAttribute, setText } from './dom.js'

/** Fills `element`, and announces each change once, not each second of a countdown. */
export function startConnectionState(element, announce) {
  /** States whose end is not worth announcing. */
  const beginnings = ['idle', 'connecting']
  let stateBefore = 'idle'
  const show = () => {
    const connection = pageConnection()
    const { state } = connection
    const description = describeConnection(connection, serverNow())
    setAttribute(element, 'data-state', state)
    setText(element, description)
    if (state === stateBefore) return
    if (!beginnings.includes(stateBefore)) announce(state === 'live' ? text.liveAgain : description)
    stateBefore = state
  }
  onTick(show)
  onPageConnection(show)
  show()
}
