/** The weights: whose share each changes and by how much, who set it, when and why, and the control that removes it. */
import { describeWeighted } from '../format/limits.js'
import { isBlank } from '../format/title.js'
import { sendDelete } from '../server/api.js'
import { limits as common, weights as text } from '../text/en.js'
import { createActionButton } from './action-button.js'
import { h, setText } from './dom.js'
import { addressOf } from './entry-fields.js'
import { createEntryList } from './entry-list.js'
import { createAuthor, createReason } from './setting.js'

/**
 * @param form the form that sets a weight
 * @param onDone receives words about what was done
 * @returns `{ element, update(items) }`
 */
export function createWeightList(form, { onDone }) {
  return createEntryList({
    heading: text.heading,
    none: text.none,
    form,
    keyOf: ({ tenant, key }) => JSON.stringify([tenant, key]),
    create: (weight) => createWeightEntry(weight, { onDone }),
  })
}

function createWeightEntry({ tenant, key }, { onDone }) {
  const [kind, name] = key === null ? ['tenant', tenant] : ['key', key]
  const what = describeWeighted({ kind, name })
  const texts = { press: text.remove, label: text.removeWhat(what), sending: text.removing }
  const { button, trouble } = createActionButton(texts, async () => {
    await sendDelete(addressOf(`/api/weights/${kind}/`, name))
    onDone(text.removed(what))
  })
  const amount = h('strong', {})
  const reason = createReason()
  const author = createAuthor()
  const element = h(
    'li',
    { class: 'entry' },
    h(
      'div',
      { class: 'entry-head' },
      h(
        'h3',
        {},
        h('span', { class: 'entry-kind' }, text.kinds[kind]),
        ' ',
        h('bdi', {}, isBlank(name) ? common.blank : name),
      ),
      button,
    ),
    h('p', {}, trouble.element),
    h('p', {}, amount, ' ', text.than[kind]),
    reason.element,
    h('p', { class: 'entry-note' }, author.element),
  )
  return {
    element,
    update(weight) {
      setText(amount, text.share(weight.weight))
      reason.update(weight.reason)
      author.update({ lead: text.setBy, by: weight.setBy, at: weight.setAt })
    },
  }
}
