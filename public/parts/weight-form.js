/** The form that sets the weight of a key or a tenant. */
import { describeWeighted } from '../format/limits.js'
import { MAX_KEY_LENGTH, MAX_WEIGHT, MIN_WEIGHT } from '../protocol.js'
import { putJson } from '../server/api.js'
import { limits as common, weights as text } from '../text/en.js'
import { h } from './dom.js'
import { createEntryForm } from './entry-form.js'
import { addressOf, createReasonInput, createSelect, createTextInput, readName, readReason } from './entry-fields.js'
import { createPlace } from './place.js'

/** @param onDone receives words about what was done */
export function createWeightForm({ onDone }) {
  const places = new Map()
  const kind = createSelect(Object.entries(text.kinds))
  const name = createTextInput({ maxlength: MAX_KEY_LENGTH })
  const weight = h('input', { type: 'number', min: MIN_WEIGHT, max: MAX_WEIGHT, step: 'any', inputmode: 'decimal' })
  const reason = createReasonInput()
  return createEntryForm(text, {
    places,
    fields: [
      createPlace(kind, { label: text.kind, pointer: '/kind', places }),
      createPlace(name, { label: text.name, pointer: '/name', isRequired: true, places }),
      createPlace(weight, {
        label: text.weight,
        help: text.weightHelp,
        pointer: '/weight',
        isRequired: true,
        places,
      }),
      createPlace(reason, { label: common.reason, help: text.reasonHelp, pointer: '/reason', places }),
    ],
    read(violations) {
      if (weight.value === '' || !weight.validity.valid) violations.push({ pointer: '/weight', detail: text.notWeight })
      return {
        kind: kind.value,
        name: readName(name, violations),
        body: { weight: Number(weight.value), ...readReason(reason) },
      }
    },
    async send({ body, ...weighted }) {
      await putJson(addressOf(`/api/weights/${weighted.kind}/`, weighted.name), body, { has: 'weight' })
      onDone(text.set(describeWeighted(weighted)))
    },
  })
}
