/**
 * The chaos run: several copies of each role under load, with watchers, while a seeded schedule of faults strikes them.
 * Then a checker compares the promises and messages that clients received with the stored data, and with the requests
 * that a real receiver got.
 *
 * Faulty handlers run beside well-behaved ones. One of the workers is of an older version: it does not know the types
 * of the tasks folder, and leaves after a third of the time, as in a rolling deploy. Every accepted task ends: a
 * well-behaved one as its client may expect, a faulty one by its own fault.
 *
 * Now and then the connections of most clients become half-open: their bytes are dropped, and neither side is told. The
 * clients detect it by the silence.
 *
 * The seed decides the order of the tasks and of the faults, but not the moments at which they strike: two runs with
 * one seed are similar, not identical.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { findViolations, readStored } from '../helpers/history.js'
import type { PersistentWatcher } from '../helpers/persist.js'
import { OWN_TASKS } from '../helpers/processes.js'
import { openScene, type KeptRole, type Role, type Scene } from '../helpers/scene.js'
import type { TestScope } from '../helpers/services.js'
import {
  countOutcomes,
  countPutBack,
  findWrongEffects,
  findWrongEnds,
  readEnds,
  type ExpectedTask,
} from './check-ends.js'
import { checkWatchers } from './check-watchers.js'
import { HEARTBEAT_SECONDS, openClients, type Clients } from './clients.js'
import { createDeck, faultsOf, faultsOfLines, openLines, type Fault } from './faults.js'
import { createRandom } from './random.js'
import { openSink } from './sink.js'
import { addStories } from './stories.js'
import { chooseWellBehaved, FATAL_FAULTS, listFaults, type Kind } from './workload.js'

export interface ChaosOptions {
  seed: number
  /** How long faults strike, in seconds. */
  seconds: number
  /** Tasks created a second. Default 20. */
  rate?: number
  /** Whether to include handlers that end their process, which makes a run some minutes longer. Default true. */
  hasFatal?: boolean
  /** Called with the name of each fault as it strikes. */
  onFault?: (name: string) => void
}

export interface ChaosReport {
  tasks: number
  /** The number of tasks by the name of their kind. */
  kinds: Record<string, number>
  watchers: number
  transitions: number
  faults: Record<string, number>
  /** How many times a process died and was started again. */
  restarts: number
  /** Tasks that the worker of the older version claimed and put back. */
  putBack: number
  /** Attempts, by their outcome and the name of their error. */
  attempts: Record<string, number>
  /** The time from the last fault to the end of the last task. */
  settledMs: number
  /** The requests that the receiver got. The repeated ones are those of the window that `once` cannot close. */
  effects: { wanted: number; distinct: number; repeated: number }
  /** The violations, each with the stored history of its task. */
  violations: string[]
}

const COPIES = 2
const SETTLE_MS = 300_000
/** One task in so many has a watcher. */
const WATCH_EVERY = 3
/** One task in so many has a faulty handler. */
const FAULT_EVERY = 6
/**
 * One task in so many has a handler that ends its worker. Later in a long run they are rarer: each costs a lease and the
 * start of a worker, and a run that is to end must not create more work than its machine can do.
 */
const FATAL_EVERY = 60
const LATE_FATAL_EVERY = 240
const LATE_INDEX = 1_200
/** The run continues until it has this many tasks and this many kinds of faults, however slow the machine is. */
const MIN_TASKS = 2 * FATAL_EVERY
const MIN_KINDS = 4

export async function runChaos(
  t: TestScope,
  { seed, seconds, rate = 20, onFault, hasFatal = true }: ChaosOptions,
): Promise<ChaosReport> {
  const scene = await openScene(t, {
    HTTP_REQUEST_ALLOW_PRIVATE: 'true',
    TASKS_DIR: OWN_TASKS,
    ATTEMPT_LEASE_SECONDS: '4',
    MAX_LOST_ATTEMPTS: '50',
    // Not long, so that handlers end workers again and again; longer, and a slow machine cannot keep up with the load.
    QUARANTINE_SECONDS: '120',
    STREAM_HEARTBEAT_SECONDS: HEARTBEAT_SECONDS,
  })
  const sink = await openSink(t)
  const lines = await openLines(t, scene)
  const clients = await openClients(t, scene)
  const roles: Record<Role, KeptRole[]> = { web: [], worker: [], relay: [] }
  for (const role of ['web', 'worker', 'relay'] as const) {
    // The second copy of each role connects through proxies that can cut, freeze and slow its connections.
    for (let copy = 0; copy < COPIES; copy += 1)
      roles[role].push(await scene.keep(role, {}, copy === 0 ? {} : lines.env))
  }
  const older = await scene.keep('worker', {}, { TASKS_DIR: '' })
  roles.worker.push(older)

  const load = startLoad(scene, { clients, random: createRandom(seed), rate, url: sink.url, hasFatal })
  const random = createRandom(seed + 1)
  const draw = createDeck(
    [...faultsOf(scene, roles, random), ...faultsOfLines(lines.proxies, random), clients.fault],
    random,
  )
  const faults: Record<string, number> = {}
  const retired = new Set<KeptRole>()
  /** Continues the rolling deploy: this worker stops, and no more faults strike it. */
  const retire = async (role: KeptRole) => {
    if (retired.has(role)) return
    retired.add(role)
    roles.worker = roles.worker.filter((other) => other !== role)
    await role.stop()
  }
  const deployedAtMs = performance.now() + seconds * 333
  const endsAtMs = performance.now() + seconds * 1_000
  const strikeOnce = async ([name, strike]: Fault) => {
    faults[name] = (faults[name] ?? 0) + 1
    onFault?.(name)
    await strike()
  }
  while (performance.now() < endsAtMs || Object.keys(faults).length < MIN_KINDS) {
    await sleep(300 + random() * 1_700)
    const fault = draw()
    if (fault) await strikeOnce(fault)
    if (performance.now() > deployedAtMs) await retire(older)
  }
  await retire(older)
  // This fault strikes in short runs too, and while tasks are running: their watchers detect it only by the silence.
  await strikeOnce(clients.fault)
  const lastFaultAtMs = performance.now()
  const { expected, watchers, withEffect, kinds } = await load.stop()

  const violations: string[] = []
  const accepted = expected.map(({ id }) => id)
  await scene.ended(accepted, SETTLE_MS).catch((error: unknown) => violations.push(String(error)))
  const settledMs = Math.round(performance.now() - lastFaultAtMs)
  const [stored, ends] = await Promise.all([readStored(scene.db), readEnds(scene.db)])
  violations.push(...findViolations(stored, accepted), ...(await checkWatchers(watchers, stored.transitions)))
  violations.push(...findWrongEnds(ends, expected), ...findWrongEffects(ends, withEffect, sink.counts))
  const explained = await addStories(scene.db, violations)
  const kept = [older, ...Object.values(roles).flat()]
  await Promise.all(kept.filter((role) => !retired.has(role)).map((role) => role.stop()))
  return {
    tasks: expected.length,
    kinds,
    watchers: watchers.length,
    transitions: stored.transitions.length,
    faults,
    restarts: kept.reduce((sum, { restarts }) => sum + restarts, 0),
    putBack: countPutBack(ends),
    attempts: countOutcomes(ends),
    settledMs,
    effects: sink.count(withEffect),
    violations: explained,
  }
}

interface Load {
  expected: ExpectedTask[]
  watchers: { id: string; watcher: PersistentWatcher }[]
  withEffect: string[]
  kinds: Record<string, number>
}

/** Creates `rate` tasks a second until stopped, and at least `MIN_TASKS`. */
function startLoad(
  scene: Scene,
  {
    clients,
    random,
    rate,
    url,
    hasFatal,
  }: { clients: Clients; random: () => number; rate: number; url: string; hasFatal: boolean },
) {
  const load: Load = { expected: [], watchers: [], withEffect: [], kinds: {} }
  const faulty = listFaults(url)
  const creating = new Set<Promise<void>>()
  let isStopped = false
  let fatalCount = 0

  function choose(index: number): Kind {
    const choice = random()
    const every = index < LATE_INDEX ? FATAL_EVERY : LATE_FATAL_EVERY
    const isFatal = hasFatal && index % every === every / 2
    const fatal = isFatal ? FATAL_FAULTS[fatalCount++ % FATAL_FAULTS.length] : undefined
    const fault = index % FAULT_EVERY === 0 ? faulty[(index / FAULT_EVERY) % faulty.length] : undefined
    return fatal ?? fault ?? chooseWellBehaved(choice, index, url)
  }

  async function createOne(index: number): Promise<void> {
    const { name, body, end, hasEffect = false } = choose(index)
    // Faulty tasks are cancelled, too: a cancel ends them whatever their handler does.
    const isCancelled = (name === 'cancelled' && index % 2 === 0) || index % (FAULT_EVERY * 7) === 0
    const cancelAfterMs = random() * 300
    const id = await scene.create(body)
    load.expected.push({ id, name, end, isCancelled })
    load.kinds[name] = (load.kinds[name] ?? 0) + 1
    if (isCancelled) cancelLater(id, cancelAfterMs)
    if (hasEffect) load.withEffect.push(id)
    if (index % WATCH_EVERY === 0) load.watchers.push(clients.watch(id))
  }

  /** Requests a cancel, whatever the state of the task by then. The request may fail to arrive. */
  function cancelLater(id: string, afterMs: number): void {
    void sleep(afterMs).then(() =>
      fetch(`${scene.addresses()[0]}/api/tasks/${id}/cancel`, {
        method: 'POST',
        signal: AbortSignal.timeout(5_000),
      }).catch(() => {}),
    )
  }

  const creatingAll = (async () => {
    for (let index = 0; !isStopped || index < MIN_TASKS; index += 1) {
      const created: Promise<void> = createOne(index).finally(() => creating.delete(created))
      creating.add(created)
      await sleep(1_000 / rate)
    }
  })()

  return {
    async stop(): Promise<Load> {
      isStopped = true
      await creatingAll
      await Promise.all(creating)
      return load
    },
  }
}
