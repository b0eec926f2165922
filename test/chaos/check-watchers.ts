/** Checks that each watcher received the stored history. */
import { setTimeout as sleep } from 'node:timers/promises'
import { isFinal } from '../../src/protocol/status.js'
import type { StreamMessage } from '../../src/protocol/stream.js'
import { groupByTask, type StoredTransition } from '../helpers/history.js'
import type { PersistentWatcher } from '../helpers/persist.js'

/** Each watcher must have received every transition after its first message, once and in order, and then the end. */
export async function checkWatchers(
  watchers: readonly { id: string; watcher: Pick<PersistentWatcher, 'messages' | 'ended'> }[],
  transitions: readonly StoredTransition[],
  waitMs = 30_000,
): Promise<string[]> {
  const histories = groupByTask(transitions)
  const found = await Promise.all(
    watchers.map(async ({ id, watcher }) => {
      const code = await Promise.race([watcher.ended, sleep(waitMs, 'nothing', { ref: false })])
      const [first, ...rest] = watcher.messages
      const told = rest.filter(({ type }) => type === 'transition').map(describe)
      const expected = (histories.get(id) ?? []).filter(({ version }) => version > (first?.version ?? 0)).map(describe)
      const hasEnded = first !== undefined && isFinal((watcher.messages.at(-1) ?? first).status)
      if (code === 1000 && first?.type === 'snapshot' && hasEnded && told.join() === expected.join()) return []
      return [
        `the watcher of ${id} (closed with ${code}) received ${first?.type} ${first?.version}, ${told.join()}; the stored history is ${expected.join()}`,
      ]
    }),
  )
  return found.flat()
}

function describe({ version, status }: StoredTransition | StreamMessage): string {
  return `${version} ${status}`
}
