/** Runs the tasks of a real database to their end, in this process and without a broker. */
import assert from 'node:assert/strict'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { DEFAULT_TENANT, serviceOf } from '../access/principal.js'
import { openArtifactStore } from '../artifacts/open-store.js'
import type { Database } from '../db/database.js'
import type { Definition } from '../definitions/definition.js'
import { createRegistry } from '../definitions/registry.js'
import type { Status } from '../protocol/status.js'
import {
  listWaitingQueues,
  makePendingDeliveriesDue,
  takeDueDeliveries,
  type DueDelivery,
} from '../store/deliveries/take-due.js'
import { readTransitions } from '../store/reads/tasks.js'
import { createRecorder } from '../tasks/attempt/recorder.js'
import { runAttempt } from '../tasks/attempt/run-attempt.js'

export interface DrainOptions {
  db: Database
  /** The definitions of the tasks' types. */
  definitions: readonly Definition[]
  /** Where artifacts are stored: a folder, or `s3://…`. Default: a temporary folder. */
  artifactsDir?: string
  /**
   * How long to wait for deliveries that are due later, such as the next attempt of a failed task. Default 0: not at
   * all.
   */
  waitMs?: number
}

const LEASE_MS = 60_000
const PAUSE_MS = 20

/**
 * Claims and runs the deliveries that are due, including those that become due by that, until none is left.
 * @returns how many attempts were run
 */
export async function drain({ db, definitions, artifactsDir, waitMs = 0 }: DrainOptions): Promise<number> {
  const [first] = definitions
  if (first === undefined) throw new TypeError('drain needs the definitions of the tasks')
  const log = pino({ level: 'silent' })
  const recorder = createRecorder({ db, log, worker: 'drain', leaseMs: LEASE_MS, publish() {} })
  const artifacts = await openArtifactStore(artifactsDir ?? (await mkdtemp(join(tmpdir(), 'taskwire-drain-'))))
  const deps = {
    db,
    recorder,
    registry: createRegistry(definitions, first.type),
    log,
    artifacts,
    artifactTtlMs: 86_400_000,
    cancelGraceMs: 1_000,
    track,
  }
  const until = performance.now() + waitMs
  let count = 0
  for (;;) {
    const due = await takeAll(db)
    await Promise.all(due.map(({ taskId, attempt }) => runAttempt({ taskId, attempt }, deps)))
    count += due.length
    if (due.length === 0 && performance.now() >= until) return count
    if (due.length === 0) await sleep(PAUSE_MS)
  }
}

async function takeAll(db: Database): Promise<DueDelivery[]> {
  await makePendingDeliveriesDue(db)
  const taken = await Promise.all(
    (await listWaitingQueues(db)).map((queue) => takeDueDeliveries(db, queue, 1_000, LEASE_MS)),
  )
  return taken.flatMap(({ deliveries }) => deliveries)
}

function track() {
  const controller = new AbortController()
  return { signal: controller.signal, abort: (reason: string) => controller.abort(reason), ending() {}, end() {} }
}

/** Asserts which statuses a task went through, from the first one on. @throws AssertionError with both lists */
export async function expectTransitions(
  db: Database,
  taskId: string,
  statuses: readonly Status[],
  tenant = DEFAULT_TENANT,
): Promise<void> {
  const stored = await readTransitions(serviceOf(tenant, 'test'), db, taskId)
  assert.deepEqual(
    stored.filter(({ edited }) => edited === undefined).map(({ status }) => status),
    [...statuses],
    `the transitions of ${taskId}`,
  )
}
