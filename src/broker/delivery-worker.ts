import { setTimeout as sleep } from 'node:timers/promises'
import { Worker, type IQueueBackend, type Job, type JobProgress } from 'bullmq'
import { settlesWithin } from '../timing/deadline.js'
import type { Delivery } from './broker.js'

const FAILED_FETCH_PAUSE_MS = 500
const ABANDON_GRACE_MS = 1_000
/** How long an idle worker waits for a wake-up before it polls. */
export const IDLE_WAIT_SECONDS = 5

/** BullMQ's worker, with workarounds for three weaknesses that show when its server is unreachable. */
export class DeliveryWorker<B extends IQueueBackend, C> extends Worker<Delivery, void, string, B, JobProgress, C> {
  /**
   * BullMQ repeats a fetch that fails at once, and a server that is starting up or out of memory fails every fetch at
   * once.
   */
  protected override async moveToActive(token: string, name?: string): Promise<Job<Delivery, void, string>> {
    try {
      return await super.moveToActive(token, name)
    } catch (error) {
      if (this.closing === undefined && !this.paused) await sleep(FAILED_FETCH_PAUSE_MS)
      throw error
    }
  }

  /** After an error BullMQ waits as long as its backend allows: on PostgreSQL an hour. */
  protected override getBlockTimeout(blockUntil: number): number {
    return Math.min(super.getBlockTimeout(blockUntil), IDLE_WAIT_SECONDS)
  }

  /** Stops without waiting for jobs or for the server; `close` may wait forever. Its jobs are redelivered. */
  async abandon(): Promise<void> {
    // Otherwise the main loop reconnects as soon as it finds its connection closed.
    this.closing ??= Promise.resolve()
    await this.pause(true)
    await this.lockManager.close()
    await settlesWithin(this.backend.close(true), ABANDON_GRACE_MS)
  }
}
