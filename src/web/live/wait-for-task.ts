/** Waits until a task has changed or ended: for long polls and for `Prefer: wait`. */
import type { ServerResponse } from 'node:http'
import type { Principal } from '../../access/principal.js'
import type { Hub, Sink } from '../../live/hub.js'
import { isFinal } from '../../protocol/status.js'
import type { TaskId } from '../../protocol/task.js'

export interface WaitOptions {
  /** Wait until the task has a version other than this; undefined: until it has ended. */
  since: number | undefined
  waitMs: number
  /** The pending answer; the wait ends when it is closed. */
  client: ServerResponse
}

/**
 * Resolves when the condition holds, when the time is over, or when the hub can send no more; the caller then reads the
 * current state.
 */
export async function waitForTask(
  principal: Principal,
  hub: Hub,
  id: TaskId,
  { since, waitMs, client }: WaitOptions,
): Promise<void> {
  let finish = () => {}
  const over = new Promise<void>((resolve) => (finish = resolve))
  const sink: Sink = {
    send(_, message) {
      if (message && (since === undefined ? isFinal(message.status) : message.version !== since)) finish()
    },
    bufferedBytes: () => 0,
    close: () => finish(),
  }
  const timer = setTimeout(finish, waitMs)
  client.once('close', finish)
  const stream = hub.attach(principal, id, { since }, sink)
  await over
  clearTimeout(timer)
  client.off('close', finish)
  stream.stop()
}
