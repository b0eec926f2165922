/** The load of the chaos run: creates tasks of all kinds, watches some of them, and cancels some. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createTasks, type NewTask } from '../../src/store/tasks/create.js'
import type { PersistentWatcher } from '../helpers/persist.js'
import type { Scene } from '../helpers/scene.js'
import type { ExpectedTask } from './check-ends.js'
import type { CreatedInSequence } from '../helpers/check-release.js'
import type { Clients } from './clients.js'
import { chooseGated } from './gated-workload.js'
import { chooseWellBehaved, FATAL_FAULTS, listFaults, type Kind } from './workload.js'

/** One task in so many has a watcher. */
const WATCH_EVERY = 3
/** One task in so many has a faulty handler. */
const FAULT_EVERY = 6
/** Two tasks in so many are of a kind that the release may hold back. */
const GATED_EVERY = 5
/** One task in so many is cancelled, of any kind. */
const CANCEL_EVERY = 17
/**
 * One task in so many has a handler that ends its worker. Later in a long run they are rarer: each costs a lease and the
 * start of a worker, and a run that is to end must not create more work than its machine can do.
 */
const FATAL_EVERY = 60
const LATE_FATAL_EVERY = 240
const LATE_INDEX = 1_200
/** However slow the machine is. */
const MIN_TASKS = 2 * FATAL_EVERY

export interface Load {
  expected: ExpectedTask[]
  watchers: { id: string; watcher: PersistentWatcher }[]
  withEffect: string[]
  kinds: Record<string, number>
  ofSequences: CreatedInSequence[]
}

/** Creates `rate` tasks a second until stopped, and at least `MIN_TASKS`. */
export function startLoad(
  scene: Scene,
  {
    clients,
    random,
    rate,
    url,
    hasFatal,
  }: { clients: Clients; random: () => number; rate: number; url: string; hasFatal: boolean },
) {
  const load: Load = { expected: [], watchers: [], withEffect: [], kinds: {}, ofSequences: [] }
  const known = new Set<string>()
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
    const gated = index % GATED_EVERY < 2 ? chooseGated(choice, index) : undefined
    return fatal ?? fault ?? gated ?? chooseWellBehaved(choice, index, url)
  }

  async function createOne(index: number): Promise<void> {
    const { name, body, end, hasEffect = false, task } = choose(index)
    // Faulty tasks are cancelled, too: a cancel ends them whatever their handler does.
    const isCancelled =
      (name === 'cancelled' && index % 2 === 0) || index % (FAULT_EVERY * 7) === 0 || index % CANCEL_EVERY === 1
    const cancelAfterMs = random() * 300
    const sentMs = performance.now()
    const id = await (task === undefined ? scene.create(body) : createDirectly(scene, task))
    load.kinds[name] = (load.kinds[name] ?? 0) + 1
    // Of several creates with a debounce key, the first made the task.
    if (known.has(id)) return
    known.add(id)
    load.expected.push({ id, name, end, isCancelled })
    if (body.sequenceKey !== undefined)
      load.ofSequences.push({ id, sentMs, acceptedMs: performance.now(), halts: body.onFailure === 'halt' })
    if (isCancelled) cancelLater(id, cancelAfterMs)
    if (hasEffect) load.withEffect.push(id)
    if (index % WATCH_EVERY === 0 && task === undefined) load.watchers.push(clients.watch(id))
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

/** Creates a task of another tenant, as a later version with keys would. Retries until it is there. */
async function createDirectly({ db }: Scene, task: NewTask): Promise<string> {
  for (;;) {
    try {
      const text = 'select id from taskwire.tasks where id = $1::text::uuid'
      const created = await db.run({ name: 'chaos_created', text }, [task.id])
      if (created.length === 0) await createTasks(db, [task], 0)
      return task.id
    } catch {
      await sleep(100)
    }
  }
}
