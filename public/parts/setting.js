/** Who set something, when and why. The names and reasons of others may be written right to left. */
import { isBlank } from '../format/title.js'
import { limits as text } from '../text/en.js'
import { createTime, setTime } from './clock.js'
import { h, setText } from './dom.js'

/** @returns `{ element, update({ lead, by, at }) }`: `lead` before the name, which may be empty */
export function createAuthor() {
  const lead = h('span', {})
  const by = h('bdi', {})
  const time = createTime(new Date(0).toISOString())
  return {
    element: h('span', {}, lead, by, ' ', time),
    update(setting) {
      setText(lead, setting.lead)
      setText(by, setting.by)
      if (time.dateTime !== setting.at) setTime(time, setting.at)
    },
  }
}

/** @returns `{ element, update(reason) }`; nothing is shown without a reason, unless `fallback` says so */
export function createReason(fallback = '') {
  const element = h('p', { class: 'entry-reason', dir: 'auto' })
  return {
    element,
    update(reason) {
      const words = reason === null ? fallback : isBlank(reason) ? text.blank : reason
      setText(element, words)
      element.hidden = words === ''
    },
  }
}
