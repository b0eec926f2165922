/** The limits: what each allows, how full it is, who set it, and the controls that change and delete it. */
import { describeAmount, describeScope, describeUses } from '../format/limits.js'
import { sendDelete } from '../server/api.js'
import { limitList as text } from '../text/en.js'
import { createActionButton } from './action-button.js'
import { h, setAttribute, setText } from './dom.js'
import { addressOf } from './entry-fields.js'
import { createEntryList } from './entry-list.js'
import { createGauge } from './gauge.js'
import { createKeyedList } from './keyed-list.js'
import { createLimitEdit } from './limit-form.js'
import { createAuthor, createReason } from './setting.js'

/**
 * @param form the form that adds a limit
 * @param onDone receives words about what was done
 * @returns `{ element, update(items) }`
 */
export function createLimitList(form, { onDone }) {
  return createEntryList({
    heading: text.heading,
    none: text.none,
    form,
    keyOf: ({ name }) => name,
    create: (limit) => createLimitEntry(limit, { onDone }),
  })
}

function createLimitEntry(first, { onDone }) {
  const { name } = first
  let limit = first
  const edit = createLimitEdit(name, () => limit, { onDone })
  const remove = createActionButton(describeRemoval(name), async () => {
    await sendDelete(addressOf('/api/limits/', name))
    onDone(text.removed(name))
  })
  const amount = h('strong', {})
  const scope = h('span', {})
  const uses = createUses()
  const author = createAuthor()
  const reason = createReason()
  const element = h(
    'li',
    { class: 'entry' },
    h(
      'div',
      { class: 'entry-head' },
      h('h3', {}, name),
      h('div', { class: 'entry-buttons' }, edit.button, remove.button),
    ),
    h('p', {}, remove.trouble.element),
    edit.element,
    h('p', {}, amount, ' ', scope),
    uses.elements,
    reason.element,
    h('p', { class: 'entry-note' }, author.element),
  )
  return {
    element,
    update(next) {
      limit = next
      edit.button.hidden = next.source === 'resume' // it is changed by the clock
      remove.button.hidden = next.source === 'code' // it would be back at the next start of a process
      setText(amount, `${describeAmount(next)}.`)
      setText(scope, `${describeScope(next)}.${next.whenOver === 'skip' ? ` ${text.skips}` : ''}`)
      uses.update(next)
      reason.update(next.reason)
      author.update({ lead: describeSource(next), by: next.source === 'api' ? next.setBy : '', at: next.setAt })
    },
  }
}

function describeRemoval(name) {
  return {
    press: text.remove,
    label: text.removeName(name),
    question: text.removeQuestion,
    questionLabel: text.removeNameQuestion(name),
    sending: text.removing,
  }
}

const describeSource = ({ source }) =>
  source === 'code' ? text.setInCode : source === 'resume' ? text.setByResume : text.setBy

/** The fullest counts. */
function createUses() {
  const list = h('ul', { class: 'uses' })
  const note = h('p', { class: 'entry-note', hidden: true })
  const entries = createKeyedList(list, { keyOf: ({ name }) => name, create: createUse })
  return {
    elements: [list, note],
    update(limit) {
      const { items, more } = describeUses(limit)
      entries.update(items)
      setText(note, items.length === 0 ? text.unused : text.moreUses(more))
      note.hidden = items.length > 0 && more === 0
    },
  }
}

function createUse({ name }) {
  const gauge = createGauge()
  const element = h('li', {}, name === '' ? null : h('span', { class: 'use-name' }, name), gauge.elements)
  return {
    element,
    update(use) {
      setAttribute(element, 'data-nameless', name === '')
      gauge.update(use, () => use.words)
    },
  }
}
