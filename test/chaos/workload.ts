/**
 * The tasks of the chaos run: each kind, with the ends that it may have. Faulty handlers run beside well-behaved ones,
 * in the same workers.
 */
import type { CreateTask } from '../../src/protocol/http.js'
import type { NewTask } from '../../src/store/tasks/create.js'
import type { ExpectedEnd } from './check-ends.js'

export interface Kind {
  name: string
  body: CreateTask
  end: ExpectedEnd
  /** The handler sends one request to the receiver. */
  hasEffect?: boolean
  /** The task, if it is another tenant's: the server accepts those of the default one only. */
  task?: NewTask
}

const COMPLETED: ExpectedEnd = { statuses: ['COMPLETED'] }

/** Picks a well-behaved handler; `choice` is from 0 to 1. */
export function chooseWellBehaved(choice: number, index: number, url: string): Kind {
  const kind = Math.floor(choice * 10)
  if (kind >= 8)
    return {
      name: 'request',
      hasEffect: true,
      body: { type: 'http.request', payload: { url, method: 'POST', body: { index } } },
      end: COMPLETED,
    }
  if (kind === 5) return { name: 'flaky', body: { type: 'test.flaky', payload: { failures: 2 } }, end: COMPLETED }
  const payload = { steps: 1 + (kind % 4), stepMs: 30 + kind * 20 }
  if (kind === 7)
    return {
      name: 'made to fail',
      body: { payload: { ...payload, failAt: 1 } },
      end: failsBy('error', /^failed at step 1, as asked$/),
    }
  if (kind === 6) return { name: 'delayed', body: { payload, delayMs: 500 }, end: COMPLETED }
  return { name: kind === 4 ? 'cancelled' : 'steps', body: { payload }, end: COMPLETED }
}

function failsBy(code: string, message: RegExp, failedAttempts = 1): ExpectedEnd {
  return { statuses: ['FAILED'], failure: { code, message }, failedAttempts }
}

function faulty(type: string, how: string, end: ExpectedEnd): Kind {
  return { name: `${type}: ${how}`, body: { type, payload: { how, afterMs: 100 } }, end }
}

function unstorable(use: string, value: string, end: ExpectedEnd, url = ''): Kind {
  return {
    name: `test.unstorable: ${use} ${value}`,
    hasEffect: use === 'record',
    body: { type: 'test.unstorable', payload: { use, value, url } },
    end,
  }
}

const WORDS: Record<string, string> = { nul: 'U\\+0000', 'half an emoji': 'surrogate', bigint: 'BigInt', map: 'Map' }

/** Faults that fail only their own attempt. */
export function listFaults(url: string): Kind[] {
  const uses = Object.entries(WORDS).flatMap(([value, word]) => [
    unstorable('return', value, failsBy('invalid_result', new RegExp(`^the result does not fit: .*${word}`))),
    unstorable('throw', value, failsBy('error', /^thrown with .* and /, 2)),
    unstorable('log', value, COMPLETED),
    unstorable(
      'record',
      value,
      failsBy('invalid_effect', new RegExp(`^the effect "pay" happened, but its value cannot be recorded: .*${word}`)),
      url,
    ),
    unstorable('report', value, COMPLETED),
    unstorable(
      'create',
      value,
      failsBy('error', new RegExp(`^the arguments of ctx.create do not fit: /payload.*${word}`), 2),
    ),
  ])
  const strays = [
    faulty('test.faulty', 'rejection', failsBy('error', /^nobody awaits this$/)),
    faulty('test.faulty', 'timer', failsBy('error', /^thrown in a timer$/)),
    faulty('test.faulty', 'async function', failsBy('error', /^nobody awaits this$/)),
    faulty('test.faulty', 'odd rejection', failsBy('error', /^\{ toString: 0 \}$/)),
    faulty('test.faulty', 'emitter', failsBy('error', /^emitted as an error$/)),
    faulty('test.faulty-isolated', 'timer', failsBy('error', /^thrown in a timer$/)),
    faulty('test.faulty-isolated', 'exit', failsBy('process_died', /exit code 3/)),
    faulty('test.late-fault', 'rejection', COMPLETED),
    faulty('test.late-fault', 'timer', COMPLETED),
  ]
  // Alternated, so that a short run has some of each, too.
  return uses.flatMap((kind, index) => [kind, ...strays.slice(index, index + 1)])
}

/** Faults that end the process of their handler. */
export const FATAL_FAULTS: readonly Kind[] = [
  faulty('test.faulty', 'exit', failsBy('process_died', /exit code 3/)),
  faulty('test.faulty', 'microtask', failsBy('error', /^thrown in a microtask$/)),
  faulty('test.faulty', 'block', failsBy('process_died', /blocked its event loop/)),
  // The end of the process races with the record of the result.
  faulty('test.late-fault', 'exit', {
    statuses: ['COMPLETED', 'FAILED'],
    failure: { code: 'process_died', message: /exit code 3/ },
  }),
  faulty('test.faulty', 'kill', failsBy('process_died', /SIGKILL/)),
  faulty('test.faulty', 'listener of others', failsBy('error', /^thrown in a listener of others$/)),
]
