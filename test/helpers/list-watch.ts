/**
 * A list received over one WebSocket, maintained as a client without our library would do it, and compared with the
 * stored data.
 */
import { once } from 'node:events'
import { WebSocket } from 'ws'
import { compareRows, type ListChangeMessage, type ListMessage, type ListRequest } from '../../src/protocol/list.js'
import type { SocketAnswer } from '../../src/protocol/subscription.js'
import type { TaskSummary } from '../../src/protocol/task.js'
import { readFrame } from './frame-check.js'
import type { TestScope } from './services.js'

export interface WatchedList {
  readonly socket: WebSocket
  readonly messages: (ListMessage | ListChangeMessage)[]
  readonly closed: Promise<number>
  /** Newest first. */
  rows(): TaskSummary[]
  readonly state: { nextCursor: string | null; newer: number; counts: ListMessage['counts'] }
  /** Resolves once the condition holds. It is checked after each message. */
  until(isTrue: () => boolean, withinMs?: number): Promise<void>
}

export async function watchList(t: TestScope, address: string, list: ListRequest = {}): Promise<WatchedList> {
  const socket = new WebSocket(`${address.replace('http', 'ws')}/ws/tasks`)
  const messages: (ListMessage | ListChangeMessage)[] = []
  const rows = new Map<string, TaskSummary>()
  const state: WatchedList['state'] = { nextCursor: null, newer: 0, counts: null }
  const listeners = new Set<() => void>()
  const compare = compareRows(list.filter ?? {})
  let name: string | undefined
  const subscribe = () => socket.send(JSON.stringify({ type: 'subscribe', id: 'l', list }))
  socket.on('message', (data: Buffer) => {
    const message = readFrame(data.toString()) as unknown as ListMessage | ListChangeMessage | SocketAnswer
    if (message.type === 'refused' && message.id === 'l') {
      // A read took too long on a busy machine: the response says to subscribe again.
      if (message.code === 'unavailable') return void setTimeout(subscribe, 100)
      throw new Error(`refused: ${JSON.stringify(message)}`)
    }
    if (message.type === 'subscribed' && message.id === 'l') name = message.list
    if ((message.type !== 'list' && message.type !== 'change') || message.list !== name) return
    // The message belongs to another subscription to the same list on this connection.
    if (message.revision <= (messages.at(-1)?.revision ?? 0)) return
    if (message.type === 'change' && message.revision !== (messages.at(-1)?.revision ?? 0) + 1)
      throw new Error('a change does not follow the previous one')
    messages.push(message)
    if (message.type === 'list') rows.clear()
    for (const row of message.type === 'list' ? message.items : (message.upsert ?? [])) rows.set(row.id, row)
    if (message.type === 'change') for (const id of message.remove ?? []) rows.delete(id)
    for (const name of ['nextCursor', 'newer', 'counts'] as const)
      if (message[name] !== undefined) Object.assign(state, { [name]: message[name] })
    for (const listener of listeners) listener()
  })
  const closed = once(socket, 'close').then(([code]) => Number(code))
  t.teardown(() => socket.terminate())
  await once(socket, 'open')
  subscribe()
  const until = (isTrue: () => boolean, withinMs = 240_000) =>
    new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`not within ${withinMs} ms: ${isTrue}; ${rows.size} rows`)),
        withinMs,
      )
      const look = () => {
        if (!isTrue()) return
        clearTimeout(timer)
        listeners.delete(look)
        resolve()
      }
      listeners.add(look)
      look()
    })
  await until(() => messages.length > 0)
  return { socket, messages, closed, rows: () => [...rows.values()].sort(compare), state, until }
}

/** Reads the same list with `GET /api/tasks`. */
export async function readList(
  address: string,
  { filter = {}, limit = 50, before }: ListRequest = {},
): Promise<TaskSummary[]> {
  const rows: TaskSummary[] = []
  let cursor: string | null | undefined = before
  while (rows.length < limit && cursor !== null) {
    const query = new URLSearchParams({
      ...filter,
      limit: String(Math.min(limit - rows.length, 200)),
      ...(cursor && { cursor }),
    })
    const page = (await (await fetch(`${address}/api/tasks?${query}`)).json()) as {
      items: TaskSummary[]
      nextCursor: string | null
    }
    rows.push(...page.items)
    cursor = page.nextCursor
  }
  return rows
}
