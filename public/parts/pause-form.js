/** The form that pauses a type, a queue, a key or a tenant. */
import { describePaused } from '../format/limits.js'
import { MAX_KEY_LENGTH } from '../protocol.js'
import { putJson, serverNow } from '../server/api.js'
import { limits as common, pauses as text } from '../text/en.js'
import { h, setAttribute } from './dom.js'
import { createEntryForm } from './entry-form.js'
import { addressOf, createReasonInput, createSelect, createTextInput, readName, readReason } from './entry-fields.js'
import { createPlace } from './place.js'

/**
 * @param names see `createKnownNames`
 * @param onDone receives words about what was done
 */
export function createPauseForm(names, { onDone }) {
  const places = new Map()
  const kind = createSelect(Object.entries(text.kinds))
  const name = createTextInput({ maxlength: MAX_KEY_LENGTH })
  const reason = createReasonInput()
  const until = h('input', { type: 'datetime-local' })
  const offer = () => setAttribute(name, 'list', names.ids[kind.value])
  kind.addEventListener('change', offer)
  offer()
  return createEntryForm(text, {
    places,
    fields: [
      createPlace(kind, { label: text.kind, help: text.kindHelp, pointer: '/kind', places }),
      createPlace(name, { label: text.name, pointer: '/name', isRequired: true, places }),
      createPlace(reason, { label: common.reason, help: text.reasonHelp, pointer: '/reason', places }),
      createPlace(until, { label: text.until, help: text.untilHelp, pointer: '/until', places }),
    ],
    onOpen: offer,
    read(violations) {
      const end = readEnd(until, violations)
      return {
        kind: kind.value,
        name: readName(name, violations),
        body: { ...readReason(reason), ...(end && { until: end }) },
      }
    },
    async send({ body, ...pause }) {
      await putJson(addressOf(`/api/pauses/${pause.kind}/`, pause.name), body)
      onDone(text.paused(describePaused(pause)))
    },
  })
}

function readEnd({ value, validity }, violations) {
  if (validity.badInput) violations.push({ pointer: '/until', detail: text.notTime })
  if (value === '') return undefined
  const end = new Date(value)
  if (end.getTime() <= serverNow()) violations.push({ pointer: '/until', detail: text.isPast })
  return end.toISOString()
}
