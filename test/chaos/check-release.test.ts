/** The checker of the release finds nothing in a correct log, and each violation that is planted in one. */
import t from 'tap'
import { findMissingHalts, findReleaseViolations, findWrongOrder } from '../helpers/check-release.js'
import type {
  AttemptKind,
  LogEntry,
  LoggedLimit,
  LoggedMember,
  LoggedPause,
  LoggedTask,
} from '../helpers/release-log.js'
import { findWrongSamples } from './operators.js'

type Planted = LogEntry extends infer Each
  ? Each extends LogEntry
    ? Omit<Each, 'id' | 'atMs' | 'begunAtMs'>
    : never
  : never

/** An entry each 10 ms, the first at 0. */
const EVERY_MS = 10
const at = (index: number) => new Date(index * EVERY_MS).toISOString()

function logOf(...entries: readonly Planted[]): LogEntry[] {
  return entries.map((entry, index) => {
    const atMs = index * EVERY_MS
    return { ...entry, id: index + 1, atMs, begunAtMs: atMs } as LogEntry
  })
}

function task(id: string, more: Partial<LoggedTask> = {}): LoggedTask {
  return { id, type: 'test.noted', queue: 'default', tenant: 'default', key: null, sequence: null, cost: 1, ...more }
}

const attempt = (kind: AttemptKind, taskId: string, name?: string): Planted => ({
  kind,
  taskId,
  attempt: 1,
  row: name === undefined ? {} : { name },
})
const start = (id: string) => [
  attempt('released', id),
  attempt('undelivered', id),
  attempt('leased', id),
  attempt('began', id),
]
const end = (id: string) => [attempt('ended', id), attempt('unleased', id)]
const run = (id: string) => [...start(id), ...end(id)]

function limit(more: Partial<LoggedLimit>): Planted {
  const nothing = {
    types: null,
    queue: null,
    tenant: null,
    concurrency: null,
    rate: null,
    period_ms: null,
    burst: null,
    ramp_since: null,
  }
  return { kind: 'limit set', row: { name: 'few', per: 'all', when_over: 'delay', ...nothing, ...more } }
}

function pause(more: Partial<LoggedPause> = {}): Planted {
  return {
    kind: 'pause set',
    row: { kind: 'queue', tenant: '', name: 'default', set_by: 'a person', until: null, ...more },
  }
}

function member(kind: 'joined' | 'halted' | 'left', id: string, position: number): Planted {
  const row: LoggedMember = { tenant: 'default', key: 's', position, task_id: id }
  return { kind, row }
}

const PAUSE_OF_TASK: Partial<LoggedPause> = {
  kind: 'key',
  tenant: 'default',
  name: 'k',
  set_by: 'task:a',
  until: at(100),
}
const PLAIN = [task('a'), task('b')]
const KEYED = [task('a', { key: 'k' }), task('b', { key: 'k' })]
const IN_SEQUENCE = [task('a', { sequence: 's' }), task('b', { sequence: 's' })]
const RATE: Partial<LoggedLimit> = { rate: 1, period_ms: 1_000, burst: 2 }

const CORRECT: [what: string, tasks: LoggedTask[], log: Planted[]][] = [
  ['one after the other', PLAIN, [limit({ concurrency: 1 }), ...run('a'), ...run('b')]],
  [
    'two keys',
    [task('a', { key: 'k' }), task('b', { key: 'l' })],
    [limit({ concurrency: 1, per: 'key' }), ...start('a'), ...start('b')],
  ],
  ['a limit set while more run', PLAIN, [...start('a'), ...start('b'), limit({ concurrency: 1 })]],
  [
    'a limit set between a release and its start',
    PLAIN,
    [...start('a'), attempt('released', 'b'), limit({ concurrency: 1 }), ...start('b').slice(1)],
  ],
  [
    'a deleted limit',
    PLAIN,
    [limit({ concurrency: 1 }), ...start('a'), { ...limit({}), kind: 'limit deleted' } as Planted, ...start('b')],
  ],
  ['a burst', PLAIN, [limit(RATE), ...run('a'), ...run('b')]],
  ['a pause that has ended', PLAIN, [pause({ until: at(1) }), ...run('a')]],
  ['a pause of another key', KEYED, [pause({ ...PAUSE_OF_TASK, name: 'l', set_by: 'a person' }), ...run('a')]],
  [
    'a pause whose handler has not got its answer',
    KEYED,
    [pause(PAUSE_OF_TASK), attempt('released', 'b'), attempt('leased', 'b')],
  ],
  [
    'a handler that runs on after its lease',
    KEYED,
    [
      limit({ concurrency: 1, per: 'key' }),
      ...start('a'),
      attempt('unleased', 'a'),
      ...start('b'),
      attempt('ended', 'a'),
    ],
  ],
  [
    'a resumed sequence',
    IN_SEQUENCE,
    [
      member('joined', 'a', 1),
      member('joined', 'b', 2),
      ...run('a'),
      member('halted', 'a', 1),
      member('left', 'a', 1),
      ...run('b'),
    ],
  ],
]

const WRONG: [what: string, tasks: LoggedTask[], log: Planted[], found: RegExp][] = [
  [
    'a limit',
    PLAIN,
    [limit({ concurrency: 1 }), ...start('a'), ...start('b')],
    /^b was released over the limit few of 1 .*\nb ran over the limit few of 1/,
  ],
  [
    'a limit of a key',
    KEYED,
    [limit({ concurrency: 1, per: 'key' }), ...start('a'), ...start('b')],
    /^b was released over the limit/,
  ],
  [
    'a released task counts',
    PLAIN,
    [limit({ concurrency: 1 }), attempt('released', 'a'), attempt('released', 'b')],
    /^b was released over/,
  ],
  [
    'a ramp',
    PLAIN,
    [limit({ ramp_since: at(0) }), ...start('a'), ...start('b')],
    /^b was released over the limit few of 1/,
  ],
  [
    'handlers at once, of which the log lost a release',
    PLAIN,
    [
      limit({ concurrency: 1 }),
      ...start('a'),
      attempt('undelivered', 'b'),
      attempt('leased', 'b'),
      attempt('began', 'b'),
    ],
    /^b was claimed without a release despite the limit few/,
  ],
  [
    'a rate',
    [...PLAIN, task('c')],
    [limit(RATE), ...run('a'), ...run('b'), ...run('c')],
    /^c was released over the rate few/,
  ],
  [
    'a cost',
    [task('a', { cost: 2 }), task('b')],
    [limit(RATE), ...run('a'), ...run('b')],
    /^b was released over the rate few/,
  ],
  [
    'a pause',
    PLAIN,
    [pause(), ...run('a')],
    /^a was released despite the pause of the queue {2}default .*\na was claimed despite/,
  ],
  [
    'a claim of what was released before the pause',
    PLAIN,
    [attempt('released', 'a'), pause(), attempt('leased', 'a')],
    /^a was claimed despite the pause/,
  ],
  [
    'the pause of a handler',
    KEYED,
    [pause(PAUSE_OF_TASK), attempt('paused', 'a', 'k'), attempt('released', 'b'), attempt('leased', 'b')],
    /^b was claimed despite the pause of the key default k/,
  ],
  ['no release', KEYED, [attempt('leased', 'a')], /^a was claimed without a release/],
  [
    'a release that was taken back',
    KEYED,
    [attempt('released', 'a'), attempt('returned', 'a'), attempt('leased', 'a')],
    /^a was claimed without a release/,
  ],
  [
    'two of a sequence',
    IN_SEQUENCE,
    [...start('a'), ...start('b')],
    /^b was released beside another of its sequence s .*\nb ran beside another of its sequence s/,
  ],
  [
    'a halted sequence',
    IN_SEQUENCE,
    [member('joined', 'a', 1), member('joined', 'b', 2), ...run('a'), member('halted', 'a', 1), ...run('b')],
    /^b was released although a has halted its sequence s/,
  ],
]

t.test('a correct log has no violation', async (t) => {
  for (const [what, tasks, log] of CORRECT) t.same(findReleaseViolations(logOf(...log), tasks), [], what)
})

t.test('each violation is found', async (t) => {
  for (const [what, tasks, log, found] of WRONG)
    t.match(findReleaseViolations(logOf(...log), tasks).join('\n'), found, what)
})

t.test('the order of a sequence is that of its creates, as its clients know it', async (t) => {
  const created = (id: string, sentMs: number) => ({ id, sentMs, acceptedMs: sentMs + 5, halts: true })
  const inOrder = logOf(...run('a'), ...run('b'))
  t.same(findWrongOrder([created('a', 0), created('b', 10)], inOrder, IN_SEQUENCE), [])
  t.match(findWrongOrder([created('b', 0), created('a', 10)], inOrder, IN_SEQUENCE), [/^a started before b had ended/])
  t.same(findWrongOrder([created('b', 0), created('a', 3)], inOrder, IN_SEQUENCE), [], 'created at once')
  const others = [task('a', { sequence: 's' }), task('b', { sequence: 'other' })]
  t.same(findWrongOrder([created('b', 0), created('a', 10)], inOrder, others), [], 'two sequences')
})

t.test('a failure that has not halted its sequence is found', async (t) => {
  const created = [{ id: 'a', sentMs: 0, acceptedMs: 5, halts: true }]
  const log = logOf(...run('a'))
  t.match(findMissingHalts(created, [{ id: 'a', status: 'FAILED' }], log), [/^a has failed/])
  t.same(findMissingHalts(created, [{ id: 'a', status: 'COMPLETED' }], log), [])
  t.same(findMissingHalts(created, [{ id: 'a', status: 'FAILED' }], logOf(member('halted', 'a', 1))), [])
  t.same(
    findMissingHalts([{ id: 'a', sentMs: 0, acceptedMs: 5, halts: false }], [{ id: 'a', status: 'FAILED' }], log),
    [],
  )
})

t.test('a sample above a limit that lasts is found', async (t) => {
  t.same(findWrongSamples({ samples: 1, mostOfAll: 6, mostOfKey: 1 }), [])
  t.match(findWrongSamples({ samples: 1, mostOfAll: 7, mostOfKey: 2 }), [/^7 noted tasks/, /^2 noted tasks of one key/])
})
