/**
 * A small world for the model test of the release: a few queues, tenants, types and keys with names of their own. The
 * commands are in `release-commands.ts`, and what must hold after each wave of them in `release-checks.ts`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../../src/db/database.js'
import { claimAttemptsIfDue, type AttemptRef } from '../../src/store/attempts/claim.js'
import { settleAttemptsIfCurrent } from '../../src/store/attempts/settle.js'
import { EMPTY, findViolations, readState, takeLeftOvers, type WorldState } from './release-checks.js'
import { ENDINGS, WorldCommands, WorldScope, type Command } from './release-commands.js'

export class ReleaseWorld {
  readonly #scope: WorldScope
  readonly #commands: WorldCommands
  #before: WorldState = EMPTY

  constructor(db: Database) {
    this.#scope = new WorldScope(db)
    this.#commands = new WorldCommands(this.#scope)
  }

  run(command: Command): Promise<void> {
    return this.#commands.run(command)
  }

  /** What is wrong after a wave of commands. */
  async check(): Promise<string[]> {
    const now = await readState(this.#scope)
    const wrong = findViolations(this.#before, now)
    this.#before = now
    return wrong
  }

  /** Ends everything that prevents tasks from ending, except limits. Returns what is left over. */
  async drain(): Promise<string[]> {
    await this.#scope.ask(
      'end_pauses',
      `with gone as (delete from taskwire.pauses where name like $1 returning *)
insert into taskwire.wakes (blocked_by) select 'pause ' || kind || ' ' || tenant || ' ' || name from gone`,
      [this.#scope.all],
    )
    for (const queue of [0, 1]) await this.#commands.heartbeat(queue, 2, false)
    let left = await this.#count()
    for (let idle = 0; left > 0 && idle < 150; idle += 1) {
      await this.#step()
      const now = await this.#count()
      if (now < left) idle = 0
      left = now
      if (idle > 0) await sleep(10)
    }
    await this.#continueSequences()
    // The wakes of the last ends.
    for (let round = 0; round < 3; round += 1) await this.run({ kind: 'release' })
    return takeLeftOvers(this.#scope)
  }

  /** As people do whose sequences have halted: at an expired task, too. */
  async #continueSequences(): Promise<void> {
    await this.#scope.ask(
      'continue_sequences',
      `with gone as (delete from taskwire.sequence_members where halted_at is not null and tenant like $1 returning *)
insert into taskwire.wakes (blocked_by) select 'sequence ' || tenant || ' ' || key from gone`,
      [this.#scope.all],
    )
  }

  async #step(): Promise<void> {
    await this.#continueSequences()
    await this.run({ kind: 'expire' })
    for (const queue of [0, 1]) await this.run({ kind: 'take', queue })
    await this.run({ kind: 'release' })
    const offered = await this.#scope.ask<AttemptRef>(
      'offered',
      `select d.task_id as "taskId", d.attempt from taskwire.deliveries d
where d.tenant like $1 and (d.is_released or d.lane_id is null and d.hand_overs > 0) order by d.task_id`,
      [this.#scope.all],
    )
    await claimAttemptsIfDue(this.#scope.db, offered, 'w', 60_000)
    const leased = await this.#scope.ask<AttemptRef>(
      'leased',
      `select task_id as "taskId", attempt from taskwire.leases where tenant like $1 order by task_id`,
      [this.#scope.all],
    )
    await settleAttemptsIfCurrent(
      this.#scope.db,
      leased.map((ref) => ({ ...ref, ...ENDINGS.complete })),
    )
  }

  async #count(): Promise<number> {
    const [row] = await this.#scope.ask<{ count: number }>(
      'count',
      `select count(*)::integer as count from taskwire.tasks where tenant like $1 and finished_at is null`,
      [this.#scope.all],
    )
    return row?.count ?? 0
  }
}
