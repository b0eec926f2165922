/** What is paused: why, by whom, since when and until when. */
import { describePaused } from '../format/limits.js'
import { isBlank } from '../format/title.js'
import { sendDelete } from '../server/api.js'
import { limits as common, pauses as text } from '../text/en.js'
import { createActionButton } from './action-button.js'
import { createTime, setTime } from './clock.js'
import { h, setText } from './dom.js'
import { addressOf } from './entry-fields.js'
import { createEntryList } from './entry-list.js'
import { createAuthor, createReason } from './setting.js'

/**
 * @param form the form that pauses something
 * @param onDone receives words about what was done
 * @returns `{ element, update(items) }`
 */
export function createPauseList(form, { onDone }) {
  return createEntryList({
    heading: text.heading,
    none: text.none,
    form,
    keyOf: ({ kind, name }) => `${kind} ${name}`,
    create: (pause) => createPauseEntry(pause, { onDone }),
  })
}

function createPauseEntry(pause, { onDone }) {
  const { kind, name } = pause
  const what = describePaused(pause)
  const label = text.resumeWhat(what)
  const { button, trouble } = createActionButton({ press: text.resume, sending: text.resuming, label }, async () => {
    await sendDelete(addressOf(`/api/pauses/${encodeURIComponent(kind)}/`, name))
    onDone(text.resumed(what))
  })
  const reason = createReason(common.noReason)
  const author = createAuthor()
  const end = createEnd()
  const element = h(
    'li',
    { class: 'entry' },
    h(
      'div',
      { class: 'entry-head' },
      h(
        'h3',
        {},
        h('span', { class: 'entry-kind' }, text.kinds[kind] ?? kind),
        ' ',
        h('bdi', {}, isBlank(name) ? common.blank : name),
      ),
      button,
    ),
    h('p', {}, trouble.element),
    reason.element,
    h('p', { class: 'entry-note' }, author.element, ', ', end.element),
  )
  return {
    element,
    update(pause) {
      reason.update(pause.reason)
      author.update({ lead: text.setBy, by: pause.setBy, at: pause.setAt })
      end.update(pause.until)
    },
  }
}

/** When a pause ends by itself, if it does. */
function createEnd() {
  const words = h('span', {})
  const time = createTime(new Date(0).toISOString())
  return {
    element: h('span', {}, words, time),
    update(until) {
      setText(words, until === null ? text.endless : text.ends)
      time.hidden = until === null
      if (until !== null && time.dateTime !== until) setTime(time, until)
    },
  }
}
