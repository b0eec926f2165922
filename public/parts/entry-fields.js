/** The controls that the forms for pauses, limits and workers share, and how they are read. */
import { MAX_REASON_LENGTH } from '../protocol.js'
import { limits as text } from '../text/en.js'
import { h } from './dom.js'

export const createTextInput = (attributes) =>
  h('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', ...attributes })
export const createReasonInput = (attributes) =>
  h('input', { type: 'text', maxlength: MAX_REASON_LENGTH, autocomplete: 'off', ...attributes })

/** The part of a body with the reason, if there is one. */
export const readReason = ({ value }) => (value.trim() === '' ? {} : { reason: value.trim() })

/** @param choices pairs of a value and its words */
export const createSelect = (choices) =>
  h(
    'select',
    {},
    choices.map(([value, words]) => h('option', { value }, words)),
  )

/** A name that becomes part of an address. An address loses segments of one or two dots, however they are encoded. */
export function readName({ value }, violations) {
  const name = value.trim()
  if (name === '') violations.push({ pointer: '/name', detail: text.isEmpty })
  if (name === '.' || name === '..') violations.push({ pointer: '/name', detail: text.unsendableName })
  return name
}

export const addressOf = (path, name) => path + encodeURIComponent(name)
