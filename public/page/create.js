/** The form that creates a task: what every task has, and what its type asks for. */
import { createTask, ProblemError } from '../task-stream.js'
import { baseUrl, getJson } from './api.js'
import { h, setText } from './dom.js'
import { createFields, createPlace } from './form.js'
import { sentence } from './schema.js'
import { typePath } from './types.js'

const RETRY_MS = 2_000

/**
 * Fills `root` with the form. `onTypes` gets the types once the form stands, `onCreated` each task as accepted. `select` chooses
 * a type, also before the types are there.
 */
export function startCreateForm(root, { onTypes, onCreated }) {
  let form
  let wanted
  const heading = h('h1', { id: 'create-heading' }, 'Create a task')
  const status = h('p', { class: 'notice', role: 'status' }, 'Reading the task types…')
  root.replaceChildren(heading, status)
  const load = async () => {
    try {
      const { items } = await getJson('/api/types')
      form = createForm(items.filter(({ isInternal }) => !isInternal), onCreated)
      if (wanted !== undefined) form.select(wanted)
      root.replaceChildren(heading, form.element)
      onTypes(items)
    } catch (error) {
      const why = error instanceof ProblemError ? error.message : 'The server does not answer'
      setText(status, `${why}. The form appears as soon as the server tells which types of task it has.`)
      setTimeout(load, RETRY_MS)
    }
  }
  load()
  return {
    select(type) {
      wanted = type
      form?.select(type)
    },
  }
}

function createForm(types, onCreated) {
  const general = createGeneralFields(types)
  const payload = createPayloadFields()
  const alert = h('div', { class: 'alert', role: 'alert', hidden: true })
  const submit = h('button', { type: 'submit', class: 'button primary' }, 'Create task')
  const element = h(
    'form',
    { novalidate: true, autocomplete: 'off', submit: (event) => void (event.preventDefault(), send()) },
    general.type,
    general.about,
    payload.element,
    h('div', { class: 'pair' }, general.title, general.delay),
    alert,
    h('div', { class: 'actions' }, submit),
  )

  const showType = () => {
    alert.hidden = true
    const info = general.selectedType()
    general.about.replaceChildren(info.description, ' ', h('a', { href: typePath(info.type) }, 'More about it'))
    payload.show(info)
  }
  const places = () => new Map([...general.places, ...payload.places])
  const showFailure = (failure) => showProblem(failure, { alert, places: places() })

  const send = async () => {
    if (submit.disabled) return
    for (const place of places().values()) place.showError(null)
    alert.hidden = true
    const misfits = []
    const body = { ...general.read(misfits), payload: payload.read(misfits) }
    if (misfits.length > 0) return showFailure({ errors: misfits })
    submit.disabled = true
    setText(submit, 'Creating…')
    try {
      onCreated(await createTask(body, { baseUrl }))
    } catch (error) {
      showFailure(error instanceof ProblemError ? error.problem : { title: 'The server does not answer', fix: 'Nothing is known of the task: look for it in the list before you try again.' })
    } finally {
      submit.disabled = false
      setText(submit, 'Create task')
    }
  }
  general.typeSelect.addEventListener('change', showType)
  showType()
  return {
    element,
    select(type) {
      if (!types.some((info) => info.type === type)) return
      general.typeSelect.value = type
      showType()
    },
  }
}

function createGeneralFields(types) {
  const places = new Map()
  const typeSelect = h('select', {}, types.map(({ type, title, isDefault }) => h('option', { value: type, selected: isDefault }, `${title} (${type})`)))
  const titleInput = h('input', { type: 'text', maxlength: 200, placeholder: 'the type', autocomplete: 'off' })
  const delayInput = h('input', { type: 'number', min: 0, step: 'any', inputmode: 'decimal', placeholder: '0' })
  const read = (misfits) => {
    const seconds = delayInput.value === '' ? 0 : Number(delayInput.value)
    if (delayInput.validity.badInput || seconds < 0) misfits.push({ pointer: '/delayMs', detail: 'must be a number of seconds, at least 0' })
    const title = titleInput.value.trim()
    return { type: typeSelect.value, ...(title && { title }), ...(seconds > 0 && { delayMs: Math.round(seconds * 1000) }) }
  }
  return {
    places,
    read,
    typeSelect,
    selectedType: () => types.find(({ type }) => type === typeSelect.value),
    type: createPlace(typeSelect, { label: 'Type', pointer: '/type', places }),
    title: createPlace(titleInput, { label: 'Title', help: 'For people, to find it again.', pointer: '/title', places }),
    delay: createPlace(delayInput, { label: 'Run in (seconds)', help: 'At once when left empty.', pointer: '/delayMs', places }),
    about: h('p', { class: 'about' }),
  }
}

/** The payload's own form, rebuilt when another type is chosen. */
function createPayloadFields() {
  const element = h('div', { class: 'payload' })
  const places = new Map()
  let read = () => undefined
  const show = ({ payload: schema }) => {
    places.clear()
    const isObject = schema.properties !== undefined
    // A payload that is no object with members is one JSON value: a field called `payload`.
    const members = isObject ? createFields(schema, '/payload', places) : createFields({ properties: { payload: schema } }, '', places)
    read = (misfits) => (isObject ? members.read(misfits) : members.read(misfits).payload)
    element.replaceChildren(...members.elements)
  }
  return { element, places, show, read: (misfits) => read(misfits) }
}

/** Puts each error at its field, or at the nearest field around it; what belongs to none is listed in the alert. */
function showProblem({ title = 'Some fields cannot be sent', detail, fix, errors = [] }, { alert, places }) {
  const homeless = []
  let first
  for (const { pointer, detail, fix } of errors) {
    const place = findPlace(places, pointer)
    const text = [sentence(detail), fix].filter(Boolean).join(' ')
    if (!place) {
      homeless.push(`${pointer} ${text}`)
      continue
    }
    place.showError(text)
    first ??= place.control
  }
  const explanation = errors.length > 0 && homeless.length === 0 ? 'See the marked fields.' : [detail, fix].filter(Boolean).join(' ')
  alert.replaceChildren(h('strong', {}, title), h('p', {}, explanation), ...homeless.map((text) => h('p', {}, text)))
  alert.hidden = false
  first?.focus()
}

function findPlace(places, pointer) {
  for (let at = pointer; at !== ''; at = at.slice(0, at.lastIndexOf('/'))) {
    if (places.has(at)) return places.get(at)
  }
  return undefined
}
