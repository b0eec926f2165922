/** The forms that add a limit, and that change its number. */
import { MAX_KEY_LENGTH } from '../protocol.js'
import { putJson } from '../server/api.js'
import { limitForm as text, limitList, limits as common } from '../text/en.js'
import { h } from './dom.js'
import { addressOf, createReasonInput, createSelect, createTextInput, readName, readReason } from './entry-fields.js'
import { createEntryForm } from './entry-form.js'
import { createPlace } from './place.js'

const NAME = /^[a-z0-9][a-z0-9._-]*$/
const MAX_NAME_LENGTH = 100

/**
 * @param names see `createKnownNames`
 * @param isTaken whether there is a limit of a name: sending it would replace that one
 * @param onDone receives words about what was done
 */
export function createLimitForm(names, { isTaken, onDone }) {
  const places = new Map()
  const name = createTextInput({ maxlength: MAX_NAME_LENGTH })
  const kind = createSelect(Object.entries(text.amounts))
  const amounts = { concurrency: createConcurrency(places), rate: createRate(places) }
  const types = createTextInput({ list: names.ids.type })
  const queue = createTextInput({ list: names.ids.queue, maxlength: MAX_KEY_LENGTH })
  const per = createSelect(Object.entries(text.pers))
  const reason = createReasonInput()
  const showAmount = () => {
    for (const [key, amount] of Object.entries(amounts)) amount.element.hidden = key !== kind.value
  }
  kind.addEventListener('change', showAmount)
  return createEntryForm(text, {
    places,
    fields: [
      createPlace(name, { label: text.name, help: text.nameHelp, pointer: '/name', isRequired: true, places }),
      createPlace(kind, { label: text.amount, pointer: '/kind', places }),
      amounts.concurrency.element,
      amounts.rate.element,
      createPlace(types, { label: text.types, help: text.typesHelp, pointer: '/types', places }),
      createPlace(queue, { label: text.queue, help: text.queueHelp, pointer: '/queue', places }),
      createPlace(per, { label: text.per, pointer: '/per', places }),
      createPlace(reason, { label: common.reason, help: text.reasonHelp, pointer: '/reason', places }),
    ],
    onOpen: showAmount,
    read: (violations) => ({
      name: readLimitName(name, isTaken, violations),
      body: {
        ...amounts[kind.value].read(violations),
        ...readScope({ types, queue, per }),
        ...readReason(reason),
      },
    }),
    async send({ name, body }) {
      await putJson(addressOf('/api/limits/', name), body)
      onDone(limitList.added(name))
    },
  })
}

/** Changes the number of a limit; the rest of it stays. `limit()` returns it as last read. */
export function createLimitEdit(name, limit, { onDone }) {
  const places = new Map()
  const amounts = { concurrency: createConcurrency(places), rate: createRate(places) }
  const reason = createReasonInput()
  const kindOf = ({ rate }) => (rate === null ? 'concurrency' : 'rate')
  const texts = {
    ...text,
    open: limitList.edit,
    label: limitList.editName(name),
    submit: text.save,
    leave: common.leave,
  }
  return createEntryForm(texts, {
    places,
    fields: [
      amounts.concurrency.element,
      amounts.rate.element,
      createPlace(reason, { label: common.reason, help: text.reasonHelp, pointer: '/reason', places }),
    ],
    onOpen() {
      const now = limit()
      for (const [kind, amount] of Object.entries(amounts)) amount.element.hidden = kind !== kindOf(now)
      amounts[kindOf(now)].fill(now)
      reason.value = now.reason ?? ''
    },
    read(violations) {
      const { types, queue, tenant, per, rate, whenOver } = limit()
      const amount = amounts[kindOf({ rate })].read(violations)
      return {
        ...(rate === null ? amount : { rate: { ...amount.rate, burst: rate.burst }, whenOver }),
        ...dropNulls({ types, queue, tenant }),
        per,
        ...readReason(reason),
      }
    },
    async send(body) {
      await putJson(addressOf('/api/limits/', name), body)
      onDone(limitList.changed(name))
    },
  })
}

function createConcurrency(places) {
  const count = createCountInput()
  return {
    element: createPlace(count, {
      label: text.count.concurrency,
      help: text.countHelp.concurrency,
      pointer: '/concurrency',
      isRequired: true,
      places,
    }),
    fill: ({ concurrency }) => (count.value = concurrency ?? ''),
    read: (violations) => ({ concurrency: readCount(count, '/concurrency', violations) }),
  }
}

function createRate(places) {
  const count = createCountInput()
  const period = createCountInput()
  const unit = createSelect(text.units.map(([word, ms]) => [ms, word]))
  unit.setAttribute('aria-label', text.unit)
  const periodPlace = createPlace(period, { label: text.period, pointer: '/rate/periodMs', isRequired: true, places })
  period.after(unit)
  periodPlace.classList.add('field-period')
  const element = h(
    'div',
    { class: 'entry-pair' },
    createPlace(count, {
      label: text.count.rate,
      help: text.countHelp.rate,
      pointer: '/rate/limit',
      isRequired: true,
      places,
    }),
    periodPlace,
  )
  return {
    element,
    fill({ rate }) {
      const [, unitMs] = [...text.units].reverse().find(([, ms]) => rate.periodMs % ms === 0) ?? text.units[0]
      count.value = rate.limit
      period.value = rate.periodMs / unitMs
      unit.value = unitMs
    },
    read: (violations) => ({
      rate: {
        limit: readCount(count, '/rate/limit', violations),
        periodMs: readPeriod(period, unit, violations),
      },
    }),
  }
}

const createCountInput = () => h('input', { type: 'number', inputmode: 'numeric', min: 1, step: 1 })

function readCount({ value, validity }, pointer, violations) {
  const count = Number(value)
  if (value === '' || validity.badInput || !Number.isInteger(count) || count < 1)
    violations.push({ pointer, detail: text.notCount })
  return count
}

/** A period may be a fraction of its unit, in whole milliseconds. */
function readPeriod({ value, validity }, unit, violations) {
  const periodMs = Math.round(Number(value) * Number(unit.value))
  if (value === '' || validity.badInput || !(periodMs >= 1))
    violations.push({ pointer: '/rate/periodMs', detail: text.notPeriod })
  return periodMs
}

function readLimitName(input, isTaken, violations) {
  const before = violations.length
  const name = readName(input, violations)
  if (violations.length > before) return name
  if (!NAME.test(name)) violations.push({ pointer: '/name', detail: text.malformedName })
  else if (isTaken(name)) violations.push({ pointer: '/name', detail: text.isTaken })
  return name
}

function readScope({ types, queue, per }) {
  const given = types.value.split(/[\s,]+/).filter(Boolean)
  return {
    ...(given.length > 0 && { types: given }),
    ...(queue.value.trim() !== '' && { queue: queue.value.trim() }),
    per: per.value,
  }
}

const dropNulls = (value) => Object.fromEntries(Object.entries(value).filter(([, member]) => member !== null))
