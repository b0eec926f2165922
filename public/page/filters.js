/** The filters of the list. They live in the address, so a link or a reload keeps them. */
import { h, setText } from './dom.js'

const STATUSES = ['SCHEDULED', 'WAITING', 'PENDING', 'PROCESSING', 'RETRYING', 'CANCELLING', 'COMPLETED', 'FAILED', 'CANCELLED', 'EXPIRED']

export function createFilters(onChange) {
  const query = new URLSearchParams(location.search)
  // A value that the address names and nothing can have stays in view, and is told.
  const wrongStatus = STATUSES.includes(query.get('status') ?? STATUSES[0]) ? [] : [query.get('status')]
  const statusSelect = createFilter('Filter by status', 'Any status', [...STATUSES, ...wrongStatus], query.get('status'))
  const typeSelect = createFilter('Filter by type', 'Any type', [query.get('type')].filter(Boolean), query.get('type'))
  const read = () => Object.fromEntries(Object.entries({ status: statusSelect.value, type: typeSelect.value }).filter(([, value]) => value !== ''))
  const apply = () => {
    const search = new URLSearchParams(read()).toString()
    history.replaceState(null, '', `${location.pathname}${search && `?${search}`}${location.hash}`)
    onChange()
  }
  statusSelect.addEventListener('change', apply)
  typeSelect.addEventListener('change', apply)
  return {
    element: h('div', { class: 'filters' }, statusSelect, typeSelect),
    /** Those that are set. */
    read,
    isWrong: () => wrongStatus.includes(statusSelect.value),
    clear() {
      statusSelect.value = typeSelect.value = ''
      apply()
    },
    setTypes(types) {
      const known = new Set([...typeSelect.options].map((option) => option.value))
      typeSelect.append(...types.filter(({ type }) => !known.has(type)).map(({ type }) => h('option', { value: type }, type)))
    },
    /** How many tasks each status has; nothing while they have not been counted. */
    showCounts(counts) {
      for (const option of statusSelect.options) {
        if (option.value === '') continue
        const count = counts?.byStatus[option.value] ?? 0
        setText(option, counts ? `${option.value} (${count}${counts.more.includes(option.value) ? '+' : ''})` : option.value)
      }
    },
  }
}

function createFilter(label, any, values, chosen) {
  const options = values.map((value) => h('option', { value, selected: value === chosen }, value))
  return h('select', { 'aria-label': label }, h('option', { value: '' }, any), options)
}
