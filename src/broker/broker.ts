/**
 * What Taskwire asks of a broker, and nothing more: carry "run attempt n of task x" to a worker, and copy events to
 * whoever listens. It may lose, repeat or reorder either; PostgreSQL decides, and every loss costs time only.
 *
 * Two brokers stand behind this interface: Redis (BullMQ and pub/sub) and, where there is no Redis, PostgreSQL
 * (BullMQ's PostgreSQL backend and LISTEN/NOTIFY). One conformance suite runs on both.
 */
import type { Notice } from '../protocol/notice.js'
import type { Event } from '../protocol/stream.js'
import type { TaskId } from '../protocol/task.js'

/** "Attempt n of task x must reach a worker." Its job is named by both, so that handing it over twice is harmless. */
export interface Delivery {
  taskId: TaskId
  attempt: number
  /** Of which queue its worker must take it. */
  queue: string
  /** 0 (default) to 9; 9 is taken first. */
  priority: number
}

/** Carries deliveries to workers. */
export interface DeliveryQueue {
  /**
   * Adds the deliveries; one whose job already exists is left as it is. Rejects when the broker does not take them
   * within `deadlineMs` (default 2,000).
   */
  add(deliveries: readonly Delivery[], options?: { deadlineMs?: number }): Promise<void>
  /** How many jobs of this queue wait for a worker. */
  countWaiting(queue: string): Promise<number>
  /**
   * Runs `run` for each delivery of a queue, at most `concurrency` at a time. A rejection of `run` drops the job; its delivery
   * stays in PostgreSQL. Rejects when the broker cannot be reached; once it has resolved, outages only interrupt it.
   */
  consume(run: (delivery: Delivery) => Promise<void>, options: ConsumeOptions): Promise<Consumer>
}

export interface ConsumeOptions {
  queue: string
  concurrency: number
}

export interface Consumer {
  /** Takes no more jobs until `resume`; those under way go on. */
  pause(): Promise<void>
  resume(): Promise<void>
  /** Runs a delivery that came before, as if it had come again: within the bounds of the queue, and not after `stop`. */
  submit(delivery: Delivery): void
  /** Takes no more jobs and resolves when those under way have ended. Idempotent. */
  stop(): Promise<void>
}

/** Copies events to every process that listens. At most once, unordered across publishers. */
export interface EventBus {
  /** Publishes each event on the channel of its task, and the notices of all. Rejects when the broker refuses or cannot be reached. */
  publish(events: readonly Event[]): Promise<void>
  /** Publishes notices of what nobody can watch by its id yet: new tasks. Rejects as `publish` does. */
  publishNotices(notices: readonly Notice[]): Promise<void>
  /** Opens the listening side. One a process. */
  listen(listener: EventListener): Promise<EventSubscription>
}

export interface EventListener {
  /** An event, as published: parsed, and its JSON text, both with the `tenant` that is not for clients. An event too large to be carried arrives through `onHint`. */
  onEvent(event: Event, json: string): void
  /** "This task has moved to this version", without the event itself. `tenant` as in an event. */
  onHint(taskId: TaskId, version: number, tenant?: string): void
  /** Notices of events, of whatever task, while `subscribeNotices` holds. */
  onNotices?(notices: readonly Notice[]): void
  /** Events may have been missed: called after each reconnect, once every subscription is acknowledged again. */
  onGap(): void
}

export interface EventSubscription {
  /**
   * Subscribes to the channel of this task; resolves once the broker has acknowledged it. Counted: pair each with
   * `unsubscribe`. Rejects after 2 s without an acknowledgement and counts all the same: the subscription is made as
   * soon as the link is back, and `onGap` tells when.
   */
  subscribe(taskId: TaskId): Promise<void>
  unsubscribe(taskId: TaskId): void
  /** Subscribes to the notices of all tasks; counted, resolves and rejects as `subscribe` does. */
  subscribeNotices(): Promise<void>
  unsubscribeNotices(): void
  /** Subscribes to the wishes of users that tasks end: each transition to CANCELLING, of whatever task. For workers. */
  subscribeCancels(): Promise<void>
  /** Whether the subscribing connection is up. */
  isUp(): boolean
  close(): Promise<void>
}

export interface BrokerReport {
  /** The server, in words: `Redis 7.2.4`. */
  server: string
  /** Its clock, in milliseconds since 1970. */
  clockMs: number
  /** Jobs that wait for a worker. */
  waitingJobs: number
  /** What is set in a way that loses jobs: what, and how to mend it. */
  faults: string[]
}

export interface Broker {
  readonly kind: 'redis' | 'postgres'
  readonly queue: DeliveryQueue
  readonly events: EventBus
  /**
   * Names the memory of the broker: a text that changes when what it held may be gone, because it was emptied, restarted,
   * restored from a copy or replaced by another server. Rejects when the broker cannot be reached.
   */
  readEpoch(): Promise<string>
  /** What an operator should know. Rejects when the broker cannot be reached. */
  inspect(): Promise<BrokerReport>
  /** Settings that `inspect` finds fault with, mended as far as the server allows; what was done, a line each. */
  mend(): Promise<string[]>
  /** A round trip; rejects within `deadlineMs` (default 1,000) when there is none. */
  ping(options?: { deadlineMs?: number }): Promise<void>
  /** Closes every connection. Idempotent; never hangs on a dead server. */
  close(): Promise<void>
}
