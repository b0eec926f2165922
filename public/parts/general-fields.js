/** The fields that every new task has, whatever its type. */
import { MAX_TITLE_LENGTH } from '../protocol.js'
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
  const read = (violations) => {
    const seconds = delayInput.value === '' ? 0 : Number(delayInput.value)
    if (delayInput.validity.badInput || seconds < 0) violations.push({ pointer: '/delayMs', detail: text.delayError })
    const title = titleInput.value.trim()
    return {
      type: typeSelect.value,
      ...(title && { title }),
      ...(seconds > 0 && { delayMs: Math.round(seconds * 1_000) }),
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
    about: h('p', { class: 'about' }),
  }
}
