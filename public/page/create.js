/** The form that creates a task: what every task has, and what its type asks for. */
import { createTask } from '../task-stream.js'
import { isPassing, ProblemError } from '../client/requests.js'
import { baseUrl, readUntilDone } from './api.js'
import { h, setText } from './dom.js'
import { createPlace } from './form.js'
import { createPayloadForms } from './payload-forms.js'
import { sentence } from './schema.js'
import { describeFailure, whenOver } from './trouble.js'
import { typePath } from './types.js'

const DEADLINE_MS = 15_000

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
  readUntilDone('/api/types', {
    onRead({ items }) {
      form = createForm(items.filter(({ isInternal }) => !isInternal), onCreated)
      if (wanted !== undefined) form.select(wanted)
      root.replaceChildren(heading, form.element)
      onTypes(items)
    },
    onFailure: (error) => setText(status, `${describeFailure(error)} The form appears as soon as the server says which types of task it has.`),
  })
  return {
    select(type) {
      wanted = type
      form?.select(type)
    },
  }
}

function createForm(types, onCreated) {
  const general = createGeneralFields(types)
  const payload = createPayloadForms()
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

  const places = () => new Map([...general.places, ...payload.places])
  const showRefusal = (problem) => showProblem(problem, { alert, places: places() })
  let forgetTrouble = () => {}
  const clear = () => {
    forgetTrouble()
    alert.hidden = true
    for (const place of places().values()) place.showErrors([])
  }
  const showFailure = (error) => {
    const isTold = error instanceof ProblemError && error.problem.code !== 'unexpected'
    const advice = isPassing(error) ? 'Press “Create task” again: whatever became of this try, one task is created.' : ''
    showRefusal(isTold ? error.problem : { title: describeFailure(error), fix: advice })
    // What Taskwire refuses stays until it is fixed; the way to the server heals by itself.
    if (isPassing(error)) forgetTrouble = whenOver(() => (alert.hidden = true))
  }

  const send = async () => {
    if (submit.getAttribute('aria-disabled')) return
    clear()
    const misfits = []
    const body = { ...general.read(misfits), payload: payload.read(misfits) }
    if (misfits.length > 0) return showRefusal({ errors: misfits })
    submit.setAttribute('aria-disabled', 'true')
    setText(submit, 'Creating…')
    try {
      onCreated(await createOnce(body))
    } catch (error) {
      showFailure(error)
    } finally {
      submit.removeAttribute('aria-disabled')
      setText(submit, 'Create task')
    }
  }
  const showType = () => {
    clear()
    const info = general.selectedType()
    general.about.replaceChildren(info.description, ' ', h('a', { href: typePath(info.type) }, 'More about it'))
    payload.show(info)
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

/** Puts the errors at their fields, or at the nearest field around each; what belongs to none is listed in the alert. */
function showProblem({ title = 'Some fields cannot be sent', detail, fix, errors = [] }, { alert, places }) {
  const homeless = []
  const found = new Map()
  for (const { pointer, detail, fix } of errors) {
    const at = findPlace(places, pointer)
    const text = [sentence(detail), fix].filter(Boolean).join(' ')
    if (at === undefined) homeless.push(`${pointer} ${text}`)
    // Of a field that holds several values: which of them is meant.
    else found.set(at, [...(found.get(at) ?? []), pointer === at ? text : `${pointer.slice(at.length)}: ${text}`])
  }
  for (const [at, texts] of found) places.get(at).showErrors(texts)
  const explanation = errors.length > 0 && homeless.length === 0 ? 'See the marked fields.' : [detail, fix].filter(Boolean).join(' ')
  alert.replaceChildren(h('strong', {}, title), h('p', {}, explanation), ...homeless.map((text) => h('p', {}, text)))
  alert.hidden = false
  const [first] = [...places.keys()].filter((at) => found.has(at))
  if (first !== undefined) places.get(first).control.focus()
}

/** Where the error of a value is shown: the pointer of a field, its own or that of one around it. */
function findPlace(places, pointer) {
  for (let at = pointer; at !== ''; at = at.slice(0, at.lastIndexOf('/'))) {
    if (places.has(at)) return at
  }
  return undefined
}

/** Sends the same body with the same key until it was answered: a task whose answer was lost is not created twice. */
const createOnce = (() => {
  let last = {}
  return async (body) => {
    const text = JSON.stringify(body)
    if (last.text !== text) last = { text, key: makeKey() }
    const task = await createTask(body, { baseUrl, idempotencyKey: last.key, timeoutMs: DEADLINE_MS })
    last = {}
    return task
  }
})()

/** `crypto.randomUUID` is for pages on HTTPS only. */
function makeKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
