/** The form that creates a task: the fields of every task, and those of its type. */
import { linkTo } from '../addresses.js'
import { isPassing, ProblemError } from '../client/requests.js'
import { whenTypesKnown } from '../server/types.js'
import { create as text } from '../text/en.js'
import { createOnce } from '../server/create-once.js'
import { h, setText } from './dom.js'
import { createGeneralFields } from './general-fields.js'
import { createPayloadForms } from './payload-forms.js'
import { showProblem } from './place.js'
import { describeFailure, whenOver } from './trouble.js'

/**
 * The form, in an element that shows a loading text until the types have been read. `onReady` is called once the form
 * exists, `onCreated` receives each accepted task.
 * @returns `{ element, select(type), firstField() }`; a type may be selected before the types have been read
 */
export function startCreateForm({ onReady, onCreated }) {
  let form
  let wanted
  const heading = h('h1', { id: 'create-heading' }, text.heading)
  const status = h('p', { class: 'notice', role: 'status' }, text.reading)
  const element = h('section', { class: 'card create', 'aria-labelledby': 'create-heading' }, heading, status)
  whenTypesKnown({
    onRead({ items }) {
      form = new CreateForm(
        items.filter(({ isInternal }) => !isInternal),
        onCreated,
      )
      if (wanted !== undefined) form.select(wanted)
      status.replaceWith(form.element)
      onReady()
    },
    onFailure: (error) => setText(status, text.notRead(describeFailure(error))),
  })
  return {
    element,
    firstField: () => form?.firstField,
    select(type) {
      wanted = type
      form?.select(type)
    },
  }
}

class CreateForm {
  element
  #types
  #onCreated
  #general
  #payload = createPayloadForms()
  #alert = h('div', { class: 'alert', role: 'alert', hidden: true })
  #submit = h('button', { type: 'submit', class: 'button primary' }, text.submit)
  #forgetTrouble = () => {}

  constructor(types, onCreated) {
    this.#types = types
    this.#onCreated = onCreated
    const general = (this.#general = createGeneralFields(types))
    this.element = h(
      'form',
      { novalidate: true, autocomplete: 'off', submit: (event) => void (event.preventDefault(), this.#send()) },
      general.type,
      general.about,
      this.#payload.element,
      h('div', { class: 'pair' }, general.title, general.delay),
      general.more,
      this.#alert,
      h('div', { class: 'actions' }, this.#submit),
    )
    general.typeSelect.addEventListener('change', () => this.#showType())
    this.#showType()
  }

  get firstField() {
    return this.#general.typeSelect
  }

  select(type) {
    if (!this.#types.some((info) => info.type === type)) return
    this.#general.typeSelect.value = type
    this.#showType()
  }

  get #places() {
    return new Map([...this.#general.places, ...this.#payload.places])
  }

  #showType() {
    this.#clear()
    const info = this.#general.selectedType()
    this.#general.about.replaceChildren(
      info.description,
      ' ',
      h('a', { href: linkTo('/types/', info.type) }, text.moreAbout),
    )
    this.#payload.show(info)
  }

  async #send() {
    if (this.#submit.getAttribute('aria-disabled')) return
    this.#clear()
    const violations = []
    const body = { ...this.#general.read(violations), payload: this.#payload.read(violations) }
    if (violations.length > 0) return this.#showRefusal({ errors: violations })
    this.#submit.setAttribute('aria-disabled', 'true')
    setText(this.#submit, text.sending)
    try {
      this.#onCreated(await createOnce(body))
    } catch (error) {
      this.#showFailure(error)
    } finally {
      this.#submit.removeAttribute('aria-disabled')
      setText(this.#submit, text.submit)
    }
  }

  #clear() {
    this.#forgetTrouble()
    this.#alert.hidden = true
    for (const place of this.#places.values()) place.showErrors([])
  }

  #showRefusal(problem) {
    showProblem(problem, { alert: this.#alert, places: this.#places })
  }

  #showFailure(error) {
    const isTold = error instanceof ProblemError && error.problem.code !== 'unexpected'
    const advice = isPassing(error) ? text.pressAgain : ''
    this.#showRefusal(isTold ? error.problem : { title: describeFailure(error), fix: advice })
    // A refusal by Taskwire stays visible until it is fixed; connection failures resolve themselves.
    if (isPassing(error)) this.#forgetTrouble = whenOver(() => (this.#alert.hidden = true))
  }
}
