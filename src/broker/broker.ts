/**
 * The broker interface. A broker carries "run attempt n of task x" to a worker and copies events to every listening
 * process, nothing more. It may lose, repeat or reorder either: PostgreSQL is the source of truth, so a loss only costs
 * time.
 *
 * There are two implementations: Redis (BullMQ and pub/sub) and, for installations without Redis, PostgreSQL (BullMQ's
 * PostgreSQL backend and LISTEN/NOTIFY). One conformance suite runs against both.
 */
import type { Notice } from '../protocol/notice.js'
import type { Event } from '../protocol/stream.js'
import type { TaskId } from '../protocol/task.js'

/**
 * "Attempt n of task x must reach a worker." The job is named after both, so adding the same delivery twice is
 * harmless.
 */
export interface Delivery {
  taskId: TaskId
  attempt: number
  /** The queue whose workers take it. */
  queue: string
  /** 0 (default) to 9; 9 is taken first. */
  priority: number
}

/** Carries deliveries to workers. */
export interface DeliveryQueue {
  /**
   * Adds the deliveries. A delivery whose job already exists is left unchanged. Rejects when the broker does not accept
   * them within `deadlineMs` (default 2,000).
   */
  add(deliveries: readonly Delivery[], options?: { deadlineMs?: number }): Promise<void>
  /** Number of jobs in this queue that wait for a worker. */
  countWaiting(queue: string): Promise<number>
  /**
   * Calls `run` for each delivery of a queue, at most `concurrency` at a time. When `run` rejects, the job is dropped;
   * its delivery stays in PostgreSQL. Rejects when the broker cannot be reached. Once it has resolved, an outage only
   * interrupts consumption.
   */
  consume(run: (delivery: Delivery) => Promise<void>, options: ConsumeOptions): Promise<Consumer>
}

export interface ConsumeOptions {
  queue: string
  concurrency: number
}

export interface Consumer {
  /** Takes no more jobs until `resume`. Running jobs continue. */
  pause(): Promise<void>
  resume(): Promise<void>
  /**
   * Runs a delivery that was received earlier as if it had just arrived: subject to the queue's concurrency, and
   * ignored after `stop`.
   */
  submit(delivery: Delivery): void
  /** Takes no more jobs and resolves when the running ones have ended. Idempotent. */
  stop(): Promise<void>
}

/** Copies events to every listening process. At most once; unordered across publishers. */
export interface EventBus {
  /**
   * Publishes each event on its task's channel, and the notices of all of them. Rejects when the broker refuses or is
   * unreachable.
   */
  publish(events: readonly Event[]): Promise<void>
  /** Publishes notices of new tasks, which no stream can follow by id yet. Rejects as `publish` does. */
  publishNotices(notices: readonly Notice[]): Promise<void>
  /** Whether any process is subscribed to notices; true where the broker cannot tell. Rejects as `publish` does. */
  hasNoticeListeners(): Promise<boolean>
  /** Opens the subscribing side. One per process. */
  listen(listener: EventListener): Promise<EventSubscription>
}

export interface EventListener {
  /** An event as published: parsed, and its JSON text, both with the `tenant` that is not for clients. Events too large for the broker arrive through `onHint`. */
  onEvent(event: Event, json: string): void
  /** "This task has moved to this version", without the event itself. `tenant` as in an event. */
  onHint(taskId: TaskId, version: number, tenant?: string): void
  /** Notices of events of any task, while `subscribeNotices` is in effect. */
  onNotices?(notices: readonly Notice[]): void
  /** Events may have been missed. Called after each reconnect, once every subscription has been acknowledged again. */
  onGap(): void
}

export interface EventSubscription {
  /**
   * Subscribes to this task's channel and resolves once the broker has acknowledged the subscription. Subscriptions are
   * counted: pair each call with `unsubscribe`. Without an acknowledgement within 2 s it rejects, but still counts: the
   * subscription is made as soon as the connection is back, and `onGap` reports it.
   */
  subscribe(taskId: TaskId): Promise<void>
  unsubscribe(taskId: TaskId): void
  /** Subscribes to the notices of all tasks. Counted; resolves and rejects as `subscribe` does. */
  subscribeNotices(): Promise<void>
  unsubscribeNotices(): void
  /** For workers: subscribes to cancellation requests, i.e. each transition to CANCELLING, of any task. */
  subscribeCancels(): Promise<void>
  /** Whether the subscribing connection is up. */
  isUp(): boolean
  close(): Promise<void>
}

interface BrokerReport {
  /** Name and version of the server, e.g. `Redis 7.2.4`. */
  server: string
  /** The server's clock, in milliseconds since 1970. */
  clockMs: number
  /** Number of jobs that wait for a worker. */
  waitingJobs: number
  /** Settings that can lose jobs, each with its fix. */
  faults: string[]
}

export interface Broker {
  readonly kind: 'redis' | 'postgres'
  readonly queue: DeliveryQueue
  readonly events: EventBus
  /**
   * Identifies the broker's data. The text changes when that data may be gone: the broker was emptied, restarted,
   * restored from a backup or replaced by another server. Rejects when the broker cannot be reached.
   */
  readEpoch(): Promise<string>
  /** Facts and faults for an operator. Rejects when the broker cannot be reached. */
  inspect(): Promise<BrokerReport>
  /** Fixes the settings that `inspect` reports, where the server allows it. Returns one line per change made. */
  repair(): Promise<string[]>
  /** One round trip. Rejects when there is no answer within `deadlineMs` (default 1,000). */
  ping(options?: { deadlineMs?: number }): Promise<void>
  /** Closes every connection. Idempotent; never hangs on a dead server. */
  close(): Promise<void>
}
