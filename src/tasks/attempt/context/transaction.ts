/** `ctx.transaction`: the handler's own rows and the outcome of its task in one transaction. */
import type { Database } from '../../../db/database.js'
import { isUnavailable } from '../../../db/unavailable.js'
import { DatabaseAwayError, type TaskContext } from '../../../definitions/definition.js'
import { UnstorableError } from '../../../definitions/outcome-errors.js'
import type { Event } from '../../../protocol/stream.js'
import { settleInTransaction, type Settlement } from '../../../store/attempts/settle.js'
import type { Recorder } from '../recorder.js'
import type { AttemptFence } from './attempt-fence.js'

interface TransactionDeps {
  db: Database
  recorder: Pick<Recorder, 'flush' | 'announce'>
  /** The settlement for this result of the handler. */
  settleReturned(returned: unknown): Settlement | undefined
}

export class OutcomeTransaction {
  readonly #fence: AttemptFence
  readonly #deps: TransactionDeps
  #isCommitted = false

  constructor(fence: AttemptFence, deps: TransactionDeps) {
    this.#fence = fence
    this.#deps = deps
  }

  get isCommitted(): boolean {
    return this.#isCommitted
  }

  /** See `TaskContext.transaction`. */
  async commitWith<Value>(work: Parameters<TaskContext['transaction']>[0]): Promise<Value> {
    const { db, recorder } = this.#deps
    const { ref } = this.#fence
    await this.#fence.whenDatabaseAnswers(() => recorder.flush(ref.taskId))
    let event: Event | undefined
    const commit = db.transaction(async (transaction) => {
      const returned = await work(transaction.orm)
      const settlement = this.#deps.settleReturned(returned)
      if (settlement?.status !== 'COMPLETED')
        throw new UnstorableError('invalid_result', settlement?.reason ?? 'the result does not fit')
      event = await settleInTransaction(transaction, settlement)
      if (event === undefined) throw this.#fence.leaseLost()
      return returned as Value
    })
    const result = await commit.catch((error: unknown) => {
      // Whether it was committed is unknown. If it was, the claim refuses the attempt that is put back.
      throw isUnavailable(error)
        ? new DatabaseAwayError('PostgreSQL went away during a transaction', { cause: error })
        : error
    })
    this.#isCommitted = true
    // If this publication is lost, the hub's position check finds the event.
    if (event !== undefined) recorder.announce(event)
    return result
  }
}
