/**
 * The filters of the list. They are stored in the query of the address, so a link, a reload or the back button keeps
 * them. Status and type can be chosen; the other filters of `GET /api/tasks` are also read from the address, shown, and
 * can be removed.
 */
import { STATUSES } from '../protocol.js'
import { list as text } from '../text/en.js'
import { h, setText } from './dom.js'

/** Filters with a control here. The server names all filters of the API in the document; the others have no control. */
const CHOSEN = ['status', 'type']
const OTHERS = document
  .querySelector('meta[name="taskwire-filters"]')
  .content.split(' ')
  .filter((name) => !CHOSEN.includes(name))

/** Calls `onChange` when the filters change, here or through the address. */
export function createFilters(onChange) {
  const statusSelect = createFilter(text.filterByStatus, text.anyStatus, STATUSES)
  const typeSelect = createFilter(text.filterByType, text.anyType, [])
  const chips = h('div', { class: 'filter-chips', hidden: true })
  let others = {}
  const read = () => withoutEmpty({ status: statusSelect.value, type: typeSelect.value, ...others })
  const takeFromAddress = () => {
    const query = new URLSearchParams(location.search)
    // One that is given several times is shown as it is: no task matches it, and it can be removed.
    const valueOf = (name) => query.getAll(name).join(', ')
    select(statusSelect, valueOf('status').trim().toUpperCase())
    select(typeSelect, valueOf('type').trim())
    setOthers(withoutEmpty(Object.fromEntries(OTHERS.map((name) => [name, valueOf(name)]))))
  }
  const setOthers = (values) => {
    others = values
    chips.replaceChildren(
      ...Object.entries(values).map(([name, value]) => createChip(name, value, () => takeAway(name))),
    )
    chips.hidden = chips.childElementCount === 0
  }
  const takeAway = (name) => {
    setOthers(withoutEmpty({ ...others, [name]: '' }))
    apply()
  }
  const apply = () => {
    const query = new URLSearchParams(read()).toString()
    history.replaceState(history.state, '', `${location.pathname}${query && `?${query}`}`)
    onChange()
  }
  takeFromAddress()
  statusSelect.addEventListener('change', apply)
  typeSelect.addEventListener('change', apply)
  window.addEventListener('popstate', () => {
    const before = JSON.stringify(read())
    takeFromAddress()
    if (JSON.stringify(read()) !== before) onChange()
  })
  return {
    element: h('div', { class: 'filters' }, statusSelect, typeSelect, chips),
    /** The active filters. */
    read,
    isWrong: () => statusSelect.value !== '' && !STATUSES.includes(statusSelect.value),
    clear() {
      statusSelect.value = typeSelect.value = ''
      setOthers({})
      apply()
    },
    setTypes: (types) => types.forEach(({ type }) => addOption(typeSelect, type)),
    showCounts: (counts) => showCounts(statusSelect, counts),
  }
}

function withoutEmpty(values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ''))
}

function createChip(name, value, click) {
  return h(
    'button',
    { type: 'button', class: 'filter-chip', 'aria-label': text.takeAway(name, value), click },
    h('span', {}, `${name}: `, h('bdi', {}, value)),
    h('span', { 'aria-hidden': 'true' }, '×'),
  )
}

function createFilter(label, any, values) {
  const options = values.map((value) => h('option', { value }, value))
  return h('select', { 'aria-label': label }, h('option', { value: '' }, any), options)
}

/** An impossible value from the address stays visible, with a message. */
function select(control, value) {
  addOption(control, value)
  control.value = value
}

function addOption(control, value) {
  if (![...control.options].some((option) => option.value === value)) control.append(h('option', { value }, value))
}

/** The number of tasks in each status; empty until they have been counted. */
function showCounts({ options }, counts) {
  for (const option of options) {
    if (option.value === '') continue
    const count = counts?.byStatus[option.value] ?? 0
    setText(option, counts ? text.statusCount(option.value, count, counts.more.includes(option.value)) : option.value)
  }
}
