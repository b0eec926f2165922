/** What an operator should do something about, from the answer of `/api/workers`. Pure. */
import { workers as text } from '../text/en.js'

/**
 * @returns a list of `{ key, what, fix }`: a sentence, and what to do as a list of texts and of `{ code }`
 */
export function findAttention({ items, queues, typesWithoutWorker, quarantinedTypes = [] }) {
  if (items.every(({ state }) => state === 'lost')) return [note('none', text.noneRuns, text.startFirst)]
  if (items.every(({ state }) => state !== 'running')) return [note('none', text.noneTakes, text.resumeOne)]
  const unserved = queues.filter(({ workers, hasWaiting }) => hasWaiting && workers === 0).map(({ name }) => name)
  return [
    ...describeNames('queues', unserved, {
      one: [text.unservedQueue, text.serveQueue],
      many: [text.unservedQueues, text.serveQueues],
    }),
    ...describeNames('types', typesWithoutWorker, {
      one: [text.unknownType, text.loadType],
      many: [text.unknownTypes, text.loadTypes],
    }),
    ...quarantinedTypes.map(({ type, reason }) =>
      note(`quarantine ${type}`, text.quarantined(type, reason), [text.fixHandler]),
    ),
  ]
}

/**
 * What to announce when the notes change: the new sentences, or that none is left. An empty text says nothing, and lets
 * a sentence that is gone be announced again.
 * @returns undefined if there is nothing to announce
 */
export function describeNews(before, found) {
  const fresh = found.filter(({ what }) => !before.some((note) => note.what === what))
  if (fresh.length > 0) return text.newAttention(fresh.map(({ what }) => what))
  if (found.length === before.length) return undefined
  return found.length === 0 ? text.attentionOver : ''
}

function describeNames(key, names, { one, many }) {
  if (names.length === 0) return []
  const [describe, fix] = names.length === 1 ? one : many
  return [note(key, names.length === 1 ? describe(names[0]) : describe(names), [fix])]
}

const note = (key, what, fix) => ({ key, what, fix })
