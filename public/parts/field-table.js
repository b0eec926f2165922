/** The fields of a JSON Schema as a table, for people. */
import { describeFields } from '../format/schema.js'
import { types as text } from '../text/en.js'
import { h } from './dom.js'

/** For a payload, a client wants to know which fields it must send; for a result, which fields are always present. */
export const markInput = ({ isRequired, fallback }) =>
  isRequired ? text.required : fallback !== undefined && text.default(JSON.stringify(fallback))
export const markOutput = ({ isRequired }) => !isRequired && text.notAlways

export function createFieldTable(schema, describeMark) {
  const rows = describeFields(schema)
  if (rows.length === 0) return h('p', {}, text.noFields)
  return h(
    'table',
    { class: 'fields' },
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        text.columns.map((column) => h('th', { scope: 'col' }, column)),
      ),
    ),
    h(
      'tbody',
      {},
      rows.map((row) => createRow(row, describeMark(row))),
    ),
  )
}

function createRow({ name, type, text: meaning }, mark) {
  const kind = h('td', {}, h('code', {}, type), mark ? [' ', h('span', { class: 'required' }, mark)] : null)
  return h('tr', {}, h('th', { scope: 'row' }, h('code', {}, name || text.value)), kind, h('td', {}, meaning))
}
