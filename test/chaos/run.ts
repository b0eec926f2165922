/**
 * The chaos run: several copies of each role under load, with watchers, while a seeded schedule of faults strikes them.
 * Then a checker compares the promises and messages that clients received with the stored data, and with the requests
 * that a real receiver got.
 *
 * Faulty handlers run beside well-behaved ones. One of the workers is of an older version: it does not know the types
 * of the tasks folder, and leaves after a third of the time, as in a rolling deploy. Every accepted task ends: a
 * well-behaved one as its client may expect, a faulty one by its own fault.
 *
 * Some tasks have keys, sequences, limits, costs and tenants, and operators set and delete limits, pause and resume
 * meanwhile. The release's own log shows that no limit was exceeded and no pause broken, and in the end nothing waits
 * that nobody holds.
 *
 * Now and then the connections of most clients become half-open: their bytes are dropped, and neither side is told. The
 * clients detect it by the silence.
 *
 * The seed decides the order of the tasks and of the faults, but not the moments at which they strike: two runs with
 * one seed are similar, not identical.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { findViolations, readStored } from '../helpers/history.js'
import { OWN_TASKS } from '../helpers/processes.js'
import { openScene, type KeptRole, type Role } from '../helpers/scene.js'
import type { TestScope } from '../helpers/services.js'
import { countOutcomes, countPutBack, findWrongEffects, findWrongEnds, readEnds } from './check-ends.js'
import { findMissingHalts, findReleaseViolations, findWrongOrder } from '../helpers/check-release.js'
import { checkWatchers } from './check-watchers.js'
import { HEARTBEAT_SECONDS, openClients } from './clients.js'
import { createDeck, faultsOf, faultsOfLines, openLines, type Fault } from './faults.js'
import { startLoad } from './load.js'
import { findWrongSamples, openOperators, RATED_QUEUE, SHARED_QUEUE, type Operators } from './operators.js'
import { createRandom } from './random.js'
import { openReleaseLog, readReleaseLog, removeReleaseNet } from '../helpers/release-log.js'
import { startSampling, type Sampling } from '../helpers/sample-limits.js'
import { settle } from './settle.js'
import { openSink } from './sink.js'
import { addStories } from './stories.js'

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
  /** What operators did, and how often. */
  acts: Record<string, number>
  /** How many entries the log of the release has. */
  logged: number
  /** How many tasks were held on purpose when all others had ended. */
  held: number
  sampling: Sampling
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
/** The run continues until it has this many kinds of faults, however slow the machine is. */
const MIN_KINDS = 4
const OPERATORS = 3
/** From one act of an operator to the next. */
const ACT_MS = 500

export async function runChaos(
  t: TestScope,
  { seed, seconds, rate = 20, onFault, hasFatal = true }: ChaosOptions,
): Promise<ChaosReport> {
  const scene = await openScene(t, {
    HTTP_REQUEST_ALLOW_PRIVATE: 'true',
    TASKS_DIR: OWN_TASKS,
    QUEUES: `${SHARED_QUEUE},${RATED_QUEUE}`,
    ATTEMPT_LEASE_SECONDS: '4',
    MAX_LOST_ATTEMPTS: '50',
    // Not long, so that handlers end workers again and again; longer, and a slow machine cannot keep up with the load.
    QUARANTINE_SECONDS: '120',
    STREAM_HEARTBEAT_SECONDS: HEARTBEAT_SECONDS,
  })
  await openReleaseLog(scene.db)
  await removeReleaseNet(scene.db)
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

  const operators = await openOperators(scene, createRandom(seed + 2))
  const sampling = startSampling(scene.db, 'test.noted')
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
  const operating = startOperating(operators)
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
  await operating.stop()
  const { expected, watchers, withEffect, kinds, ofSequences } = await load.stop()

  const violations: string[] = []
  const settled = await settle(scene.db, operators, SETTLE_MS)
  const accepted = expected.map(({ id }) => id)
  await scene.ended(accepted, SETTLE_MS).catch((error: unknown) => violations.push(String(error)))
  const settledMs = Math.round(performance.now() - lastFaultAtMs)
  const [stored, ends] = await Promise.all([readStored(scene.db), readEnds(scene.db)])
  violations.push(...findViolations(stored, accepted), ...(await checkWatchers(watchers, stored.transitions)))
  const ended = expected.map((task) => (settled.cancelled.has(task.id) ? { ...task, isCancelled: true } : task))
  violations.push(...findWrongEnds(ends, ended), ...findWrongEffects(ends, withEffect, sink.counts))
  const sampled = await sampling.stop()
  const { log, tasks } = await readReleaseLog(scene.db)
  violations.push(...settled.violations, ...operators.refused, ...findWrongSamples(sampled))
  violations.push(...findReleaseViolations(log, tasks), ...findWrongOrder(ofSequences, log, tasks))
  violations.push(...findMissingHalts(ofSequences, ends, log))
  const explained = await addStories(scene.db, violations)
  const kept = [older, ...Object.values(roles).flat()]
  await Promise.all(kept.filter((role) => !retired.has(role)).map((role) => role.stop()))
  return {
    tasks: expected.length,
    kinds,
    watchers: watchers.length,
    transitions: stored.transitions.length,
    faults,
    acts: operators.acts,
    logged: log.length,
    held: settled.held.length,
    sampling: sampled,
    restarts: kept.reduce((sum, { restarts }) => sum + restarts, 0),
    putBack: countPutBack(ends),
    attempts: countOutcomes(ends),
    settledMs,
    effects: sink.count(withEffect),
    violations: explained,
  }
}

/** Each operator acts again and again. */
function startOperating(operators: Operators): { stop(): Promise<void> } {
  let isStopped = false
  const operate = async () => {
    while (!isStopped) {
      await operators.act()
      await sleep(ACT_MS)
    }
  }
  const done = Promise.all(Array.from({ length: OPERATORS }, operate))
  return {
    async stop() {
      isStopped = true
      await done
    },
  }
}
