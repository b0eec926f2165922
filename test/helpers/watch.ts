/** A simple watcher that collects the messages of one WebSocket unchanged. */
import { WebSocket } from 'ws'
import type { StreamMessage } from '../../src/protocol/stream.js'
import type { Task } from '../../src/protocol/task.js'
import { readFrame } from './frame-check.js'

interface Watched {
  messages: StreamMessage[]
  code: number
  reason: string
}

export interface Watcher {
  /** Grows while the socket is open. */
  readonly messages: StreamMessage[]
  readonly closed: Promise<Watched>
  /** Resolves with the first message that satisfies the predicate. */
  until(predicate: (message: StreamMessage) => boolean): Promise<StreamMessage>
  terminate(): void
}

export function watch(address: string, path: string): Watcher {
  const socket = new WebSocket(address.replace(/^http/, 'ws') + path)
  const messages: StreamMessage[] = []
  const waiting = new Set<(message: StreamMessage) => void>()
  socket.on('message', (data: Buffer) => {
    const message = readFrame(data.toString())
    messages.push(message)
    for (const listener of waiting) listener(message)
  })
  const closed = new Promise<Watched>((resolve, reject) => {
    socket.on('error', reject)
    socket.on('close', (code, reason) => resolve({ messages, code, reason: reason.toString() }))
  })
  closed.catch(() => {})
  return {
    messages,
    closed,
    terminate: () => socket.terminate(),
    until(predicate) {
      const found = messages.find(predicate)
      if (found !== undefined) return Promise.resolve(found)
      return new Promise((resolve, reject) => {
        const listener = (message: StreamMessage) => {
          if (!predicate(message)) return
          waiting.delete(listener)
          resolve(message)
        }
        waiting.add(listener)
        closed.then(
          () =>
            reject(
              new Error(
                `the stream ended without it: ${JSON.stringify(messages.map(({ type, version, status }) => [type, version, status]))}`,
              ),
            ),
          reject,
        )
      })
    },
  }
}

export async function createTask(address: string, body: object): Promise<Task> {
  const answer = await fetch(`${address}/api/tasks`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (answer.status !== 202) throw new Error(`refused: ${await answer.text()}`)
  return (await answer.json()) as Task
}

/** The versions that a stream reported, in order: that of its snapshot, then those of its transitions. */
export function versionsOf(messages: readonly StreamMessage[]): number[] {
  return messages.filter(({ type }) => type === 'snapshot' || type === 'transition').map(({ version }) => version)
}
