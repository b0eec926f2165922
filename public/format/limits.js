// @ts-check
/** Limits and pauses in words. Pure. */
import { limitList as text, limits as common, pauses, periods } from '../text/en.js'
import { isBlank } from './title.js'

/** @typedef {import('../../src/protocol/release.js').Limit} Limit */
/** @typedef {import('../../src/protocol/release.js').Pause} Pause */

/** How many counts of a limit are shown. */
const MAX_USES = 5

/**
 * A name for a sentence. Keys and tenants may be any text, so the name is isolated from the direction of the text around
 * it, and a blank one is replaced by words.
 * @param {string} name
 */
export function showName(name) {
  return isBlank(name) ? common.blank : `\u2068${name}\u2069`
}

/** `type report.generate`. @param {Pick<Pause, 'kind' | 'name'>} pause */
export function describePaused({ kind, name }) {
  return pauses.what(kind, kind === 'type' || kind === 'queue' ? name : showName(name))
}

/** `concurrency key customer-4711`. @param {{ kind: 'key' | 'tenant', name: string }} weighted */
export function describeWeighted({ kind, name }) {
  return pauses.what(kind, showName(name))
}

/** `At most 5 at a time`. @param {Pick<Limit, 'concurrency' | 'rate'>} limit */
export function describeAmount({ concurrency, rate }) {
  if (rate === null) return text.atATime(concurrency ?? 0)
  const { limit, periodMs, burst } = rate
  return `${text.perPeriod(limit, describePeriod(periodMs))}${burst > 1 ? text.burst(burst) : ''}`
}

/** In the largest unit that needs no fraction. @param {number} ms */
export function describePeriod(ms) {
  const [unit, unitMs] = periods.units.find(([, unitMs]) => ms % Number(unitMs) === 0) ?? []
  if (unitMs === undefined) return periods.ms(ms)
  return ms === unitMs ? periods.one(unit) : periods.many(ms / Number(unitMs), unit)
}

/**
 * What a limit counts: `Tasks of the type email.send, counted for each tenant`.
 * @param {Pick<Limit, 'types' | 'queue' | 'tenant' | 'per'>} limit
 */
export function describeScope({ types, queue, tenant, per }) {
  const parts = [
    types !== null && text.ofTypes(types),
    queue !== null && text.inQueue(queue),
    tenant !== null && text.ofTenant(showName(tenant)),
  ].filter(Boolean)
  return `${parts.length === 0 ? text.allTasks : [text.tasks, ...parts].join(' ')}${text.per[per] ?? ''}`
}

/**
 * The counts to show, the fullest first: `items` with their numbers for a gauge, and how many are left out.
 * @param {Pick<Limit, 'per' | 'concurrency' | 'rate' | 'use'>} limit
 */
export function describeUses({ per, concurrency, rate, use }) {
  const slots = concurrency ?? rate?.burst ?? 0
  const none = { tenant: null, key: null, running: rate === null ? 0 : null, left: slots }
  const uses = use.length === 0 && per === 'all' ? [none] : use
  const sorted = [...uses].sort((a, b) => a.left - b.left || (b.running ?? 0) - (a.running ?? 0))
  const items = sorted.slice(0, MAX_USES).map(({ tenant, key, running, left }) => ({
    name: describeCounted(tenant, key),
    running: running ?? Math.max(0, slots - left),
    // A burst of one has nothing between empty and full.
    slots: rate !== null && slots < 2 ? 0 : slots,
    words: running === null ? text.left(left) : text.running(running, slots),
  }))
  return { items, more: uses.length - items.length }
}

/** @param {string | null} tenant @param {string | null} key */
function describeCounted(tenant, key) {
  if (key === null) return tenant === null ? '' : showName(tenant)
  return tenant === null || tenant === 'default' ? showName(key) : text.keyOfTenant(showName(key), showName(tenant))
}
