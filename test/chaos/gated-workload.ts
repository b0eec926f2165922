/** The tasks of the chaos run that the release may hold back: by keys, limits, sequences and shares. */
import { newTask } from '../helpers/database.js'
import { RATED_QUEUE, SHARED_QUEUE, SKIPPED_KEY } from './operators.js'
import type { Kind } from './workload.js'

const COMPLETED: Kind['end'] = { statuses: ['COMPLETED'] }
const FAILED: Kind['end'] = {
  statuses: ['FAILED'],
  failure: { code: 'permanent', message: /^failed, as asked$/ },
  failedAttempts: 1,
}
const SKIPPED: Kind['end'] = { statuses: ['COMPLETED', 'CANCELLED'] }

/** Picks one; `choice` is from 0 to 1. */
export function chooseGated(choice: number, index: number): Kind {
  const kinds = [keyed, keyed, halting, halting, skipping, shared, shared, rated, skipped, debounced, pausing, ofTenant]
  const kind = kinds[Math.floor(choice * kinds.length)] ?? keyed
  return kind(index, { ms: 20 + (index % 5) * 25 })
}

interface Payload {
  ms: number
  fails?: boolean
  pauseMs?: number
}

function noted(
  name: string,
  payload: Payload,
  more: Partial<Kind['body']>,
  end = payload.fails ? FAILED : COMPLETED,
): Kind {
  return { name, body: { type: 'test.noted', payload, ...more }, end }
}

function keyed(index: number, payload: Payload): Kind {
  return noted('of a key', payload, { concurrencyKey: `key ${index % 4}`, priority: index % 3 })
}

/** The tasks behind a failed one wait until an operator resumes the sequence. Some have a key, too. */
function halting(index: number, payload: Payload): Kind {
  const keys = { sequenceKey: `halting ${index % 3}`, ...(index % 2 === 0 && { concurrencyKey: `key ${index % 4}` }) }
  return noted('of a sequence that halts', { ...payload, fails: index % 5 === 0 }, { ...keys, onFailure: 'halt' })
}

function skipping(index: number, payload: Payload): Kind {
  const more = { sequenceKey: `skipping ${index % 2}`, onFailure: 'skip' as const }
  return noted('of a sequence that skips', { ...payload, fails: index % 4 === 0 }, more)
}

/** Tasks of the default tenant, beside those of others. */
function shared(index: number, payload: Payload): Kind {
  return noted('of a shared queue', payload, { queue: SHARED_QUEUE, priority: index % 2 })
}

function ofTenant(index: number, payload: Payload): Kind {
  const tenant = index % 2 === 0 ? 'a' : 'b'
  const more = index % 3 === 0 ? { concurrencyKey: `key ${index % 2}` } : undefined
  return {
    ...noted('of another tenant', payload, {}),
    // The creator knows of nothing that may hold it.
    task: newTask({
      tenant,
      type: 'test.noted',
      payload,
      queue: SHARED_QUEUE,
      maxAttempts: 20,
      more,
      isGated: false,
      isHandedOver: false,
    }),
  }
}

function rated(index: number, payload: Payload): Kind {
  return noted('of a rate', payload, { queue: RATED_QUEUE, cost: 1 + (index % 3) })
}

function skipped(_: number, payload: Payload): Kind {
  return noted('of a rate that skips', payload, { queue: RATED_QUEUE, concurrencyKey: SKIPPED_KEY }, SKIPPED)
}

/** Several creates, one task. */
function debounced(index: number, payload: Payload): Kind {
  return noted('debounced', payload, { debounce: { key: `draft ${index % 3}`, delayMs: 400, maxDelayMs: 1_500 } })
}

function pausing(index: number, payload: Payload): Kind {
  const key = `polite ${index % 2}`
  return noted('that pauses its key', { ...payload, pauseMs: 300 + (index % 4) * 300 }, { concurrencyKey: key })
}
