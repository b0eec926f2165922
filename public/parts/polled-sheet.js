/** A sheet for what has no stream: it reads again while the page is visible, and says so when that fails. */
import { poll } from '../server/poll.js'
import { h } from './dom.js'
import { createPressHold } from './press-hold.js'
import { createReadNotice } from './read-notice.js'

const PERIOD_MS = 2_000

/**
 * @param sheet `text`, with `heading` and the texts of `createReadNotice`; `content`, hidden until the first answer;
 *   `read(signal)`; `show(answer)`
 * @returns `{ element, readNow(), close() }`
 */
export function createPolledSheet({ text, content, read, show }) {
  const notice = createReadNotice(text)
  const body = h('div', { hidden: true }, content)
  const element = h(
    'article',
    { class: 'card sheet', 'aria-label': text.heading },
    h('h1', { tabindex: -1 }, text.heading),
    notice.element,
    body,
  )
  const hold = createPressHold(element)
  const reading = poll(read, {
    everyMs: PERIOD_MS,
    onRead(answer) {
      notice.clear()
      hold(() => {
        show(answer)
        body.hidden = false
      })
    },
    onFailure: notice.take,
  })
  return {
    element,
    readNow: reading.readNow,
    close() {
      notice.stop()
      reading.stop()
    },
  }
}
