import { setTimeout as sleep } from 'node:timers/promises'
import { Worker, type IQueueBackend, type Job, type JobProgress } from 'bullmq'
import { settlesWithin } from '../timing/deadline.js'
import type { Delivery } from './broker.js'

const FAILED_FETCH_PAUSE_MS = 500
const ABANDON_GRACE_MS = 1_000
/** How long an idle worker waits for a wake-up before it looks by itself. */
export const IDLE_WAIT_SECONDS = 5

/** BullMQ's worker, with three weaknesses covered that show when its server is away. */
export class DeliveryWorker<B extends IQueueBackend, C> extends Worker<Delivery, void, string, B, JobProgress, C> {
  /** BullMQ repeats a fetch that fails at once, and a server that starts up or is out of memory fails it at once. */
  protected override async moveToActive(token: string, name?: string): Promise<Job<Delivery, void, string>> {
    try {
      return await super.moveToActive(token, name)
    } catch (error) {
      if (this.closing === undefined && !this.paused) await sleep(FAILED_FETCH_PAUSE_MS)
      throw error
    }
  }

  /** After an error BullMQ waits as long as its backend allows, on PostgreSQL an hour. */
  protected override getBlockTimeout(blockUntil: number): number {
    return Math.min(super.getBlockTimeout(blockUntil), IDLE_WAIT_SECONDS)
  }

  /** Stops without waiting for jobs or for the server, where `close` may wait forever. Its jobs are delivered again. */
  async abandon(): Promise<void> {
    // Else the main loop connects again as soon as it finds its connection closed.
    this.closing ??= Promise.resolve()
    await this.pause(true)
    await this.lockManager.close()
    await settlesWithin(this.backend.close(true), ABANDON_GRACE_MS)
  }
}
