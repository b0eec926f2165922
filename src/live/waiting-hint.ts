/** What a watched task waits for, as its streams are told. */
import { awaitsAttempt } from '../protocol/status.js'
import type { WaitingMessage } from '../protocol/stream.js'
import type { Task } from '../protocol/task.js'
import type { WaitingFor } from '../protocol/waiting.js'
import { toFrame, type Frame } from './frame.js'

/** An estimate that moves by less than this, in milliseconds, or by less than a fifth of the time left is not news. */
const LEAST_MOVE_MS = 3_000
const LEAST_MOVE_SHARE = 0.2
const LEAST_AHEAD_SHARE = 0.05

export class WaitingHint {
  #frame: Frame<WaitingMessage> | undefined
  #version = 0
  /** Whether the reason has been given since the task began to wait. */
  #isTold = false
  /** When the reason was last asked for; undefined when it has not been since the last change of the task. */
  askedAtMs: number | undefined

  /** The latest message; undefined when there is nothing to say. */
  get frame(): Frame<WaitingMessage> | undefined {
    return this.#frame
  }

  /** The task has changed: what it waits for is to be asked again, or it no longer waits. */
  follow(task: Task): void {
    if (task.version === this.#version) return
    this.#version = task.version
    this.askedAtMs = undefined
    this.#frame = undefined
    if (awaitsAttempt(task.status) || !this.#isTold) return
    this.#isTold = false
    this.#frame = toFrame(toMessage(task, null))
  }

  /** Returns whether a person would read something new. */
  explain(task: Task, waitingFor: WaitingFor): boolean {
    const known = this.#frame?.message.waitingFor
    if (!awaitsAttempt(task.status) || (known && !isNews(known, waitingFor))) return false
    this.#isTold = true
    this.#frame = toFrame(toMessage(task, waitingFor))
    return true
  }
}

function toMessage({ id, status, version }: Task, waitingFor: WaitingFor | null): WaitingMessage {
  return { type: 'waiting', taskId: id, status, version, waitingFor }
}

function isNews(known: WaitingFor, next: WaitingFor): boolean {
  if (known.code !== next.code || known.taskIds.join() !== next.taskIds.join()) return true
  if (hasMoved(known.until, next.until) || hasMoved(known.start?.at, next.start?.at)) return true
  if (known.ahead === null || next.ahead === null || known.ahead === next.ahead) return known.text !== next.text
  return Math.abs(known.ahead - next.ahead) > known.ahead * LEAST_AHEAD_SHARE
}

function hasMoved(known: string | null | undefined, next: string | null | undefined): boolean {
  if (known == null || next == null) return (known ?? null) !== (next ?? null)
  const leftMs = Math.max(0, Date.parse(next) - Date.now())
  return Math.abs(Date.parse(known) - Date.parse(next)) > Math.max(LEAST_MOVE_MS, leftMs * LEAST_MOVE_SHARE)
}
