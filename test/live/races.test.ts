/**
 * The hub against everything that can happen around it, in any order, in a world without clocks: hundreds of schedules
 * a second.
 *
 * - A hostile world: events are lost, duplicated, reordered, or arrive as hints; reads fail, or return the state at
 *   their start or at their end; clients are slow, or reconnect.
 * - A kind world: events arrive once and in order, and no read fails. There the position check must not be needed.
 *
 * `SCHEDULES` is the number of runs in each world. `mutants.deep.ts` runs this against hubs without one of their
 * mechanisms.
 */
import fc from 'fast-check'
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { startHub, type Hub } from '../../src/live/hub.js'
import { fold } from '../../src/protocol/fold.js'
import { isFinal, type Status } from '../../src/protocol/status.js'
import type { Event } from '../../src/protocol/stream.js'
import type { Task } from '../../src/protocol/task.js'
import { atDepth } from '../helpers/depth.js'
import { Bus, Client, ID, NO_LOG, settle, Store } from './world.js'

const LIVES: Status[][] = [
  ['PROCESSING', 'COMPLETED'],
  ['PROCESSING', 'RETRYING', 'PROCESSING', 'RETRYING', 'PROCESSING', 'COMPLETED'],
  ['CANCELLED'],
  // A transition to the same status is an edit.
  ['PENDING', 'PENDING', 'PROCESSING', 'RETRYING', 'RETRYING', 'PROCESSING', 'COMPLETED'],
  [...Array.from({ length: 40 }, (_, index): Status => (index % 2 ? 'PENDING' : 'PROCESSING')), 'PROCESSING', 'FAILED'],
]

const which = fc.nat(7)
const step = (...names: string[]) => fc.record({ do: fc.constantFrom(...names), which })
const Anything = fc.oneof(
  step('commit', 'commit', 'report', 'turn', 'turn', 'attach', 'find'),
  step('deliver', 'deliver', 'deliver', 'answerNew', 'answerNew', 'answerOld'),
  step('fill', 'drain', 'reconnect', 'leave'),
)
const Mishap = step('double', 'hint', 'lose', 'fail', 'gap')
const WORLDS = {
  hostile: fc.oneof({ weight: 3, arbitrary: Anything }, { weight: 1, arbitrary: Mishap }),
  kind: Anything,
}

interface Step {
  do: string
  which: number
}

/** A watcher over several connections, as in `public/task-stream.js`. */
class Watcher {
  client: Client
  task: Task | undefined
  private folded = 0
  private hasLeft = false
  private isResuming = false
  private readonly seen = new Set<number>()

  constructor(hub: Hub) {
    this.client = new Client().attach(hub, ID)
  }

  reconnect(hub: Hub): void {
    this.fold()
    this.client.stream?.stop()
    this.client = new Client().attach(hub, ID, this.task?.version)
    this.isResuming = this.task !== undefined
    this.folded = 0
    this.hasLeft = false
  }

  leave(): void {
    this.client.stream?.stop()
    this.hasLeft = true
  }

  get isDone(): boolean {
    return this.hasLeft || this.client.closed?.code === 1000
  }

  /** Fails if the watcher was told that the task has ended, but does not hold its final state. */
  assertWhole({ version, status, title }: Task): void {
    const { task } = this
    if (
      this.client.closed?.code !== 1000 ||
      (task?.version === version && task.status === status && task.title === title)
    )
      return
    throw new Error(`closed at ${task?.version} of ${version}, as "${task?.title}"`)
  }

  /** Folds the new messages, and checks that the guarantees hold. */
  fold(): void {
    for (const message of this.client.messages.slice(this.folded)) {
      const before = this.task
      const { task, outcome } = fold(before, message)
      if (this.isResuming && message.type !== 'resumed') throw new Error(`${message.type} instead of resumed`)
      this.isResuming = false
      if (message.type === 'snapshot' && message.reset)
        throw new Error(`reset at ${message.version}, at ${before?.version}`)
      // Another process may not have the latest progress yet; the time of the progress shows that it is older.
      if (message.type === 'progress' && outcome === 'stale' && message.version === before?.version) continue
      if (outcome !== 'applied')
        throw new Error(`${message.type} ${message.version} is ${outcome} at ${before?.version}`)
      if (message.type === 'resumed' && message.status !== before?.status)
        throw new Error('resumed with another status')
      if (message.type === 'transition' && this.seen.has(message.version))
        throw new Error(`${message.version} arrived twice`)
      if (message.type === 'transition') this.seen.add(message.version)
      this.task = task
    }
    this.folded = this.client.messages.length
  }
}

/** One life of a task, watched through two hubs that share only the database. */
class Schedule {
  private readonly store = new Store()
  private readonly buses = [new Bus(), new Bus()]
  private readonly watchers: Watcher[] = []
  private readonly travelling: { event: Event; bus: Bus }[] = []
  private readonly pending: { answer(how: 'old' | 'new' | 'fail'): void }[] = []
  private isCalm = false

  constructor(
    private readonly life: Status[],
    private readonly world: keyof typeof WORLDS,
  ) {
    this.store.create(ID)
  }

  async run(steps: readonly Step[]): Promise<void> {
    const hubs = await Promise.all(this.buses.map((bus) => this.openHub(bus)))
    const hubOf = (number: number): Hub => hubs[number % hubs.length] as Hub
    this.watchers.push(new Watcher(hubOf(0)))
    for (const step of steps) {
      await this.take(step, hubOf(step.which >> 2))
      for (const watcher of this.watchers) watcher.fold()
    }
    await this.calmDown()
    for (const watcher of this.watchers) {
      watcher.fold()
      watcher.assertWhole(this.store.task(ID))
    }
    await Promise.all(hubs.map((hub) => hub.stop()))
  }

  private openHub(bus: Bus): Promise<Hub> {
    const { readTasks, readWholeTask, readTransitionMessages, readVersions, readLatestLogs } = this.store
    bus.subscribe = () => this.ask(async () => {})
    return startHub({
      readTasks: (principal, ids) => this.ask(() => readTasks(principal, ids)),
      readWholeTask: (principal, id) => this.ask(() => readWholeTask(principal, id)),
      readTransitionMessages: (principal, id, since, limit) =>
        this.ask(() => readTransitionMessages(principal, id, since, limit)),
      readLatestLogs,
      readWaits: async () => [],
      readVersions: (ids) => this.ask(() => readVersions(ids)),
      events: bus,
      log: NO_LOG,
      positionCheckMs: 3_600_000,
    })
  }

  private async take(step: Step, hub: Hub): Promise<void> {
    const { which } = step
    const watcher = this.watchers[which % this.watchers.length]
    switch (step.do) {
      case 'commit':
        return this.commit()
      case 'report':
        if (this.store.task(ID).status === 'PROCESSING') this.publish(this.store.report(ID, which / 8))
        return
      case 'deliver':
      case 'double':
      case 'hint':
      case 'lose':
        return this.deliver(step.do, which)
      case 'answerOld':
        return this.answer('old', which)
      case 'answerNew':
        return this.answer('new', which)
      case 'fail':
        return this.answer('fail', which)
      case 'gap':
        return this.buses[which % 2]?.listener.onGap()
      case 'turn':
        return settle(2)
      case 'attach':
        if (this.watchers.length < 4) this.watchers.push(new Watcher(hub))
        return
      case 'find':
        void hub.find(DEFAULT_PRINCIPAL, ID).catch(() => {})
        return
      case 'fill':
        if (watcher) watcher.client.buffered = 65_000
        return
      case 'drain':
        return watcher?.client.drain()
      case 'reconnect':
        return watcher?.reconnect(hub)
      case 'leave':
        return watcher?.leave()
    }
  }

  private commit(): void {
    const status = this.life[this.store.task(ID).version - 1]
    if (status) this.publish(this.store.commit(ID, status))
  }

  private publish(event: Event): void {
    for (const bus of this.buses) this.travelling.push({ event, bus })
  }

  private deliver(how: 'deliver' | 'double' | 'hint' | 'lose', which: number): void {
    const index = this.world === 'kind' ? 0 : which % Math.max(1, this.travelling.length)
    const traveller = this.travelling[index]
    if (traveller === undefined) return
    const { event, bus } = traveller
    if (how !== 'double') this.travelling.splice(index, 1)
    if (how === 'hint') bus.listener.onHint(event.taskId, event.version)
    else if (how !== 'lose') bus.deliver(event)
  }

  private answer(how: 'old' | 'new' | 'fail', which: number): void {
    this.pending.splice(which % Math.max(1, this.pending.length), 1)[0]?.answer(how)
  }

  /** A read that returns when a step says so: with the state at its start, or at its end. */
  private async ask<Answer>(read: () => Promise<Answer>): Promise<Answer> {
    const old = structuredClone(await read())
    if (this.isCalm) return old
    const how = await new Promise<'old' | 'new' | 'fail'>((answer) => this.pending.push({ answer }))
    if (how === 'fail') throw new Error('the read failed')
    return how === 'old' ? old : read()
  }

  /** Ends the task. From now on nothing fails. In a hostile world all events and reads in progress are lost. */
  private async calmDown(): Promise<void> {
    const isKind = this.world === 'kind'
    while (!isFinal(this.store.task(ID).status)) this.commit()
    this.isCalm = true
    for (const { answer } of this.pending) answer(isKind ? 'old' : 'fail')
    await settle(3)
    while (isKind && this.travelling.length > 0) this.deliver('deliver', 0)
    for (let round = 0; round < 50 && !this.isOver(); round += 1) {
      if (!isKind) for (const bus of this.buses) bus.listener.onGap()
      await settle(3)
      for (const { client } of this.watchers) client.drain()
    }
    const waiting = this.watchers.filter((watcher) => !watcher.isDone)
    if (waiting.length > 0)
      throw new Error(`still waiting: ${JSON.stringify(waiting.map(({ client }) => client.story))}`)
  }

  private isOver(): boolean {
    return this.watchers.every((watcher) => watcher.isDone)
  }
}

const numRuns = Number(process.env['SCHEDULES'] ?? atDepth(2_500, 10_000))
// A mutant ends at the first failure: shrinking to the shortest failing schedule takes long, and only helps debugging.
const endOnFailure = process.env['MUTANT'] !== undefined

t.setTimeout(Math.max(900_000, numRuns * 10))
for (const world of ['hostile', 'kind'] as const) {
  t.test(`in a ${world} world each watcher is told each version once, in order, up to the end`, async (t) => {
    const steps = fc.array(WORLDS[world], { maxLength: 150, size: 'max' })
    const property = fc.asyncProperty(fc.constantFrom(...LIVES), steps, (life, taken) =>
      new Schedule(life, world).run(taken),
    )
    const details = await fc.check(property, { numRuns, endOnFailure })
    t.notOk(details.failed, fc.defaultReportMessage(details) ?? 'no schedule breaks it')
    t.equal(details.numRuns, numRuns)
  })
}
