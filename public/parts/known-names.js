/** The names of types and queues, offered while one is typed. */
import { getJson } from '../server/api.js'
import { whenTypesKnown } from '../server/types.js'
import { h } from './dom.js'

let idCount = 0

/** @returns `{ element, ids }`; `ids` has the id of the list of each kind, for the attribute `list` */
export function createKnownNames() {
  const own = ++idCount
  const ids = { type: `known-types-${own}`, queue: `known-queues-${own}` }
  const types = h('datalist', { id: ids.type })
  const queues = h('datalist', { id: ids.queue })
  const known = new Set()
  const offerQueues = (names) => {
    for (const name of names) known.add(name)
    queues.replaceChildren(...createOptions([...known].sort()))
  }
  whenTypesKnown({
    onRead({ items }) {
      types.replaceChildren(...createOptions(items.map(({ type }) => type)))
      offerQueues(items.map(({ queue }) => queue))
    },
  })
  getJson('/api/workers', { has: 'queues' }).then(
    (answer) => offerQueues(answer.queues.map(({ name }) => name)),
    () => {}, // they are a help in typing only
  )
  return { element: h('div', {}, types, queues), ids }
}

const createOptions = (names) => names.map((name) => h('option', { value: name }))
