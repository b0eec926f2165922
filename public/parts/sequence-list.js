/** The sequences that a failed or expired task has halted. */
import { linkTo } from '../addresses.js'
import { showName } from '../format/limits.js'
import { isBlank } from '../format/title.js'
import { postJson } from '../server/api.js'
import { limits as common, sequences as text } from '../text/en.js'
import { createActionButton } from './action-button.js'
import { createTime, setTime } from './clock.js'
import { h, setText } from './dom.js'
import { addressOf } from './entry-fields.js'
import { createEntryList } from './entry-list.js'

/**
 * @param onDone receives words about what was done
 * @returns `{ element, update(items) }`
 */
export function createSequenceList({ onDone }) {
  return createEntryList({
    heading: text.heading,
    keyOf: ({ key }) => key,
    create: (sequence) => createSequenceEntry(sequence, { onDone }),
  })
}

function createSequenceEntry({ key }, { onDone }) {
  const label = text.resumeKey(showName(key))
  const { button, trouble } = createActionButton({ press: text.resume, sending: text.resuming, label }, async () => {
    await postJson(`${addressOf('/api/sequences/', key)}/resume`, {}, { has: null })
    onDone(text.resumed(showName(key)))
  })
  const id = h('code', {})
  const link = h('a', {}, id)
  const time = createTime(new Date(0).toISOString())
  const waiting = h('p', {})
  const element = h(
    'li',
    { class: 'entry' },
    h('div', { class: 'entry-head' }, h('h3', {}, h('bdi', {}, isBlank(key) ? common.blank : key)), button),
    h('p', {}, trouble.element),
    waiting,
    h('p', { class: 'entry-note' }, text.haltedBy, link, ' ', time),
  )
  return {
    element,
    update(sequence) {
      link.href = linkTo('/tasks/', sequence.haltedBy)
      setText(id, sequence.haltedBy)
      if (time.dateTime !== sequence.haltedAt) setTime(time, sequence.haltedAt)
      setText(waiting, text.waiting(sequence.waiting))
    },
  }
}
