/**
 * The surroundings of a hub, in memory: tasks with their history, a broker that loses and duplicates events, and
 * clients that fold messages.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { DEFAULT_PRINCIPAL, DEFAULT_TENANT, type Principal } from '../../src/access/principal.js'
import type { EventListener } from '../../src/broker/broker.js'
import { startHub, type Hub, type HubDeps, type Sink, type TaskStream } from '../../src/live/hub.js'
import { LOW_WATER_BYTES, MAX_BUFFERED_BYTES } from '../../src/live/task-stream.js'
import { fold } from '../../src/protocol/fold.js'
import { isFinal, type Status } from '../../src/protocol/status.js'
import type { Event, LogMessage, ProgressMessage, StreamMessage, TransitionMessage } from '../../src/protocol/stream.js'
import type { Task, TaskId } from '../../src/protocol/task.js'
import { sampleTask } from '../helpers/sample-task.js'

export const ID = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'
export const UNKNOWN_ID = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e11'
export const OTHER_ID = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e12'

/** Tasks as PostgreSQL would hold them. */
export class Store {
  readonly tasks = new Map<TaskId, Task>()
  readonly #tenants = new Map<TaskId, string>()
  readonly history = new Map<TaskId, TransitionMessage[]>()
  readonly lines = new Map<TaskId, LogMessage[]>()
  private clock = Date.parse('2026-11-20T21:22:23.456Z')

  create(id: TaskId, tenant = DEFAULT_TENANT): Task {
    this.#tenants.set(id, tenant)
    const task = sampleTask(id, { createdAt: this.now() })
    const { createdAt: at } = task
    this.tasks.set(id, task)
    this.history.set(id, [
      { type: 'transition', taskId: id, status: 'PENDING', version: 1, from: null, attempt: 0, at, reason: null },
    ])
    return task
  }

  /** Commits a transition. A transition to the current status is an edit. */
  commit(id: TaskId, status: Status, extra: Partial<TransitionMessage> = {}): TransitionMessage {
    const task = this.task(id)
    const attempt = status === 'PROCESSING' ? task.attempt + 1 : task.attempt
    const head = { type: 'transition', taskId: id, status, version: task.version + 1 } as const
    const edit = { edited: ['title' as const], changes: { title: `edit ${head.version}` } }
    const message = {
      ...head,
      from: task.status,
      attempt,
      at: this.now(),
      reason: null,
      ...(status === task.status && edit),
      ...extra,
    }
    this.history.get(id)?.push(message)
    this.tasks.set(id, fold(task, message).task)
    return message
  }

  report(id: TaskId, fraction: number): ProgressMessage {
    const { status, version, attempt } = this.task(id)
    const progress = { fraction, done: null, total: null, message: null, at: this.now() }
    const message: ProgressMessage = { type: 'progress', taskId: id, status, version, attempt, progress }
    this.tasks.set(id, { ...this.task(id), progress })
    return message
  }

  task(id: TaskId): Task {
    const task = this.tasks.get(id)
    if (task === undefined) throw new Error(`no task ${id}`)
    return task
  }

  readTasks = async (principal: Principal, ids: TaskId[]) =>
    ids.flatMap((id) => (this.#isOf(principal, id) ? (this.tasks.get(id) ?? []) : []))
  readWholeTask = async (principal: Principal, id: TaskId) => (await this.readTasks(principal, [id]))[0]
  readVersions = async (ids: TaskId[]) =>
    ids.flatMap((id) => this.tasks.get(id) ?? []).map(({ id, version }) => ({ id, tenant: this.tenantOf(id), version }))
  /** A value that a later edit has replaced is no longer stored. */
  readTransitionMessages = async (principal: Principal, id: TaskId, since: number, limit: number) => {
    const history = this.#isOf(principal, id) ? (this.history.get(id) ?? []) : []
    const lastEdit = history.findLast(({ edited }) => edited)
    return history
      .slice(since, since + limit)
      .map((message) => (message.edited && message !== lastEdit ? { ...message, changes: {} } : message))
  }

  readWaits = async () => []

  readLatestLogs = async (principal: Principal, id: TaskId, limit: number) =>
    (this.#isOf(principal, id) ? (this.lines.get(id) ?? []) : []).slice(-limit)

  tenantOf(id: TaskId): string {
    return this.#tenants.get(id) ?? DEFAULT_TENANT
  }

  #isOf({ tenant }: Principal, id: TaskId): boolean {
    return this.tenantOf(id) === tenant
  }

  private now(): string {
    this.clock += 1
    return new Date(this.clock).toISOString()
  }
}

/** A broker without a network: events arrive when the test says so. */
export class Bus {
  isUp = true
  isClosed = false
  readonly subscribed: TaskId[] = []
  private readonly acknowledged = new Set<TaskId>()
  subscribe: (id: TaskId) => Promise<void> = async () => {}
  listener: EventListener = { onEvent() {}, onHint() {}, onGap() {} }

  async publish(): Promise<void> {}
  async publishNotices(): Promise<void> {}
  hasNoticeListeners = async () => true

  listen = async (listener: EventListener) => {
    this.listener = listener
    return {
      subscribe: async (id: TaskId) => {
        this.subscribed.push(id)
        await this.subscribe(id)
        if (this.subscribed.includes(id)) this.acknowledged.add(id)
      },
      unsubscribe: (id: TaskId) => {
        this.subscribed.splice(this.subscribed.indexOf(id), 1)
        if (!this.subscribed.includes(id)) this.acknowledged.delete(id)
      },
      subscribeNotices: async () => {},
      unsubscribeNotices: () => {},
      subscribeCancels: async () => {},
      isUp: () => this.isUp,
      close: async () => {
        this.isClosed = true
      },
    }
  }

  /** Delivers an event to subscribers only, as a broker does. */
  deliver(event: Event): void {
    if (this.acknowledged.has(event.taskId)) this.listener.onEvent(event, JSON.stringify(event))
  }
}

/** One connection, and its messages. */
export class Client implements Sink {
  readonly messages: StreamMessage[] = []
  closed: { code: number; reason: string } | undefined
  buffered = 0
  stream: TaskStream | undefined

  attach(hub: Hub, id: TaskId, since?: number, logs = false, principal = DEFAULT_PRINCIPAL): this {
    this.stream = hub.attach(principal, id, { since, logs }, this)
    return this
  }

  send(frame: string): void {
    if (this.closed) throw new Error(`sent after close: ${frame}`)
    if (this.buffered >= LOW_WATER_BYTES && this.buffered + frame.length > MAX_BUFFERED_BYTES)
      throw new Error('sent to a full socket')
    this.messages.push(JSON.parse(frame) as StreamMessage)
  }

  bufferedBytes(): number {
    return this.buffered
  }

  close(code: number, reason: string): void {
    if (this.closed) throw new Error(`closed twice: ${code}`)
    this.closed = { code, reason }
  }

  drain(): void {
    if (this.buffered === 0) return
    this.buffered = 0
    this.stream?.drained()
  }

  /** The messages in short form: `snapshot 1`, `transition 2`, `progress 2 0.5`. */
  get story(): string[] {
    return this.messages.map((message) => {
      const tail = message.type === 'progress' ? ` ${message.progress.fraction}` : ''
      const reset = message.type === 'snapshot' && message.reset ? ' reset' : ''
      return `${message.type} ${message.version}${tail}${reset}`
    })
  }

  get isEnded(): boolean {
    return this.closed?.code === 1000 && this.messages.some((message) => isFinal(message.status))
  }
}

export const NO_LOG = { warn() {} }

/** Opens a hub around a store and a bus. The position check does not run unless the test sets `positionCheckMs`. */
export async function openWorld(
  t: { teardown(run: () => unknown): unknown },
  overrides: Partial<HubDeps> = {},
): Promise<{ store: Store; bus: Bus; hub: Hub }> {
  const store = new Store()
  const bus = new Bus()
  const { readTasks, readWholeTask, readTransitionMessages, readVersions, readLatestLogs, readWaits } = store
  const reads = { readTasks, readWholeTask, readTransitionMessages, readVersions, readLatestLogs, readWaits }
  const hub = await startHub({ ...reads, events: bus, log: NO_LOG, positionCheckMs: 3_600_000, ...overrides })
  t.teardown(() => hub.stop())
  return { store, bus, hub }
}

/** Lets pending promises and callbacks run. */
export async function settle(turns = 20): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) await nextTurn()
}

export async function until(isTrue: () => boolean, withinMs = 120_000): Promise<void> {
  const deadline = performance.now() + withinMs
  while (!isTrue()) {
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${isTrue}`)
    await nextTurn()
  }
}
