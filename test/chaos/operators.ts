/**
 * The operators of the chaos run: people who set, change and delete limits, pause and resume, change weights and resume
 * halted sequences while faults strike. A request of theirs may fail; then it has had its effect or not.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { PutLimit } from '../../src/protocol/release.js'
import type { Sampling } from '../helpers/sample-limits.js'
import type { Scene } from '../helpers/scene.js'
import { createDeck, type Fault } from './faults.js'

/** Queues beside the default one: one of several tenants, and one with a rate. */
export const SHARED_QUEUE = 'shared'
export const RATED_QUEUE = 'rated'
/** In it, a rate cancels what is over it. */
export const SKIPPED_KEY = 'skipped'
/** Paused at the end of the run, until everything else has ended. */
export const HELD_KEY = 'key 0'

/** These stay as they are for the whole run. */
const TYPE_LIMIT = 6
const KEY_LIMIT = 1
const LASTING: Record<string, PutLimit> = {
  'chaos-type': { types: ['test.noted'], concurrency: TYPE_LIMIT },
  'chaos-key': { types: ['test.noted'], per: 'key', concurrency: KEY_LIMIT },
  'chaos-rate': { queue: RATED_QUEUE, rate: { limit: 3, periodMs: 1_000, burst: 3 } },
  'chaos-skip': { queue: RATED_QUEUE, per: 'key', rate: { limit: 3, periodMs: 1_000, burst: 3 }, whenOver: 'skip' },
}

const CHANGING_NAMES = ['chaos-changing-1', 'chaos-changing-2']
const CHANGING: readonly PutLimit[] = [
  { queue: 'default', concurrency: 4 },
  { queue: 'default', concurrency: 12 },
  { queue: SHARED_QUEUE, per: 'tenant', concurrency: 1 },
  { types: ['demo.sleep', 'test.flaky'], concurrency: 3 },
  { per: 'tenant', concurrency: 10 },
  { tenant: 'default', rate: { limit: 60, periodMs: 1_000, burst: 10 } },
  { types: ['test.noted'], per: 'key', rate: { limit: 20, periodMs: 1_000, burst: 2 } },
]

const PAUSABLE = [
  'queue/default',
  `queue/${SHARED_QUEUE}`,
  'type/test.noted',
  'type/demo.sleep',
  `key/${encodeURIComponent(HELD_KEY)}`,
  'key/key%201',
  'tenant/default',
  'tenant/a',
]

const WEIGHTED = ['tenant/a', 'tenant/b', 'key/key%201']

export interface Operators {
  /** Acts once, in a way of the deck. */
  act(): Promise<void>
  /** How many times each was tried. */
  acts: Record<string, number>
  /** Requests that were refused, although they were right. */
  refused: string[]
  /** Repeats a request until it is answered. */
  insist(method: string, path: string, body?: object): Promise<unknown>
  /** Resumes the sequences that are halted. Returns how many there were. */
  resumeSequences(): Promise<number>
}

/** Sets the limits that last. */
export async function openOperators(scene: Scene, random: () => number): Promise<Operators> {
  const acts: Record<string, number> = {}
  const refused: string[] = []
  const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)] as Item

  /** Undefined when there is no answer. */
  async function ask(method: string, path: string, body?: object): Promise<{ answer: unknown } | undefined> {
    try {
      const response = await fetch(`${pick(scene.addresses())}/api/${path}`, {
        method,
        ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(10_000),
      })
      const text = await response.text()
      if (response.status >= 500) return undefined
      // What was to be ended may have ended; the end of a pause may have passed on the way.
      const isLate = response.status === 404 || text.includes('has passed')
      if (!response.ok && !isLate) refused.push(`${method} ${path} was refused with ${response.status}: ${text}`)
      return { answer: text === '' ? null : (JSON.parse(text) as unknown) }
    } catch {
      return undefined
    }
  }

  async function insist(method: string, path: string, body?: object): Promise<unknown> {
    for (;;) {
      const asked = await ask(method, path, body)
      if (asked !== undefined) return asked.answer
      await sleep(100)
    }
  }

  async function resumeSequences(): Promise<number> {
    const asked = await ask('GET', 'sequences')
    const { items } = (asked?.answer ?? { items: [] }) as { items: { key: string }[] }
    for (const { key } of items) await ask('POST', `sequences/${encodeURIComponent(key)}/resume`)
    return items.length
  }

  const ways: Fault[] = [
    ['a limit is set', () => ask('PUT', `limits/${pick(CHANGING_NAMES)}`, pick(CHANGING))],
    ['a limit is deleted', () => ask('DELETE', `limits/${pick(CHANGING_NAMES)}`)],
    ['paused with an end', () => ask('PUT', `pauses/${pick(PAUSABLE)}`, { until: inMs(300 + random() * 1_500) })],
    ['paused for a while', () => pauseForAWhile()],
    ['a weight is set', () => ask('PUT', `weights/${pick(WEIGHTED)}`, { weight: pick([0.5, 2, 8]) })],
    ['a weight is reset', () => ask('DELETE', `weights/${pick(WEIGHTED)}`)],
    ['sequences are resumed', () => resumeSequences()],
  ]
  const draw = createDeck(ways, random)

  /** Without an end: an operator resumes. */
  async function pauseForAWhile(): Promise<void> {
    const path = `pauses/${pick(PAUSABLE)}`
    await ask('PUT', path, { reason: 'the chaos run' })
    await sleep(500 + random() * 1_000)
    await ask('DELETE', path)
  }

  async function act(): Promise<void> {
    const [name, way] = draw() ?? ['nothing', async () => {}]
    acts[name] = (acts[name] ?? 0) + 1
    await way()
  }

  for (const [name, limit] of Object.entries(LASTING)) await insist('PUT', `limits/${name}`, limit)
  return { act, acts, refused, insist, resumeSequences }
}

function inMs(milliseconds: number): string {
  return new Date(Date.now() + milliseconds).toISOString()
}

/** Checks samples of the noted tasks against the limits that last. */
export function findWrongSamples({ mostOfAll, mostOfKey }: Sampling): string[] {
  const wrong: string[] = []
  if (mostOfAll > TYPE_LIMIT) wrong.push(`${mostOfAll} noted tasks were active at a time; the limit is ${TYPE_LIMIT}`)
  if (mostOfKey > KEY_LIMIT)
    wrong.push(`${mostOfKey} noted tasks of one key were active at a time; the limit is ${KEY_LIMIT}`)
  return wrong
}
