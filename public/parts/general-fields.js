/** The fields that every new task has, whatever its type. */
import { MAX_KEY_LENGTH, MAX_TITLE_LENGTH } from '../protocol.js'
import { create as text } from '../text/en.js'
import { h } from './dom.js'
import { createPlace } from './place.js'

export function createGeneralFields(types) {
  const places = new Map()
  const typeSelect = h(
    'select',
    {},
    types.map(({ type, title, isDefault }) =>
      h('option', { value: type, selected: isDefault }, text.typeOption(title, type)),
    ),
  )
  const titleInput = h('input', {
    type: 'text',
    maxlength: MAX_TITLE_LENGTH,
    placeholder: text.titlePlaceholder,
    autocomplete: 'off',
  })
  const delayInput = h('input', { type: 'number', min: 0, step: 'any', inputmode: 'decimal', placeholder: '0' })
  const concurrencyKey = createKeyInput()
  const sequenceKey = createKeyInput()
  const cost = h('input', { type: 'number', min: 1, max: 1_000, inputmode: 'numeric', placeholder: '1' })
  const read = (violations) => {
    const seconds = delayInput.value === '' ? 0 : Number(delayInput.value)
    if (delayInput.validity.badInput || seconds < 0) violations.push({ pointer: '/delayMs', detail: text.delayError })
    if (!cost.validity.valid) violations.push({ pointer: '/cost', detail: text.costError })
    const title = titleInput.value.trim()
    return {
      type: typeSelect.value,
      ...(title && { title }),
      ...(seconds > 0 && { delayMs: Math.round(seconds * 1_000) }),
      ...readKey('concurrencyKey', concurrencyKey),
      ...readKey('sequenceKey', sequenceKey),
      ...(cost.value !== '' && { cost: Number(cost.value) }),
    }
  }
  return {
    places,
    read,
    typeSelect,
    selectedType: () => types.find(({ type }) => type === typeSelect.value),
    type: createPlace(typeSelect, { label: text.type, pointer: '/type', places }),
    title: createPlace(titleInput, { label: text.title, help: text.titleHelp, pointer: '/title', places }),
    delay: createPlace(delayInput, { label: text.delay, help: text.delayHelp, pointer: '/delayMs', places }),
    more: createMore([
      createPlace(concurrencyKey, {
        label: text.concurrencyKey,
        help: text.concurrencyKeyHelp,
        pointer: '/concurrencyKey',
        places,
      }),
      createPlace(sequenceKey, {
        label: text.sequenceKey,
        help: text.sequenceKeyHelp,
        pointer: '/sequenceKey',
        places,
      }),
      createPlace(cost, { label: text.cost, help: text.costHelp, pointer: '/cost', places }),
    ]),
    about: h('p', { class: 'about' }),
  }
}

/** A space at either end, perhaps pasted, would make it another key. */
const readKey = (name, { value }) => (value.trim() === '' ? {} : { [name]: value.trim() })

const createKeyInput = () =>
  h('input', { type: 'text', maxlength: MAX_KEY_LENGTH, autocomplete: 'off', spellcheck: 'false' })

/** The fields that few tasks need, collapsed. */
const createMore = (children) =>
  h('details', { class: 'more' }, h('summary', {}, text.more), h('div', { class: 'more-fields' }, children))
