/** How the messages of a stream look over plain HTTP: as server-sent events, or as lines for people. */
import Negotiator from 'negotiator'
import type { ListStreamMessage } from '../../protocol/list.js'
import type { StreamMessage } from '../../protocol/stream.js'
import type { Progress, TaskId, TaskSummary } from '../../protocol/task.js'

export interface EventFormat {
  readonly contentType: string
  /** Sent first: with the pause after which the client should come back when the connection is lost. */
  open(retryMs: number): string
  /** The heartbeat of a stream of many tasks that has told of none. */
  readonly idleHeartbeat: string
  /** `position` is what the client says when it comes back; a stream of many tasks names the task of each message. */
  format(json: string, message: StreamMessage, stream: { position: string; hasMany: boolean }): string
  /** The same for a message of a list. */
  formatList(json: string, message: ListStreamMessage, position: string): string
  /** The tasks that are followed, of a stream of many; `list` is the name of a list that has so many rows. */
  begin(taskCount: number, missing: readonly TaskId[], list?: string): string
  /** Sent last when the client should come back after a pause. */
  comeBack(afterMs: number): string
}

/**
 * Server-sent events: `id` is the version, `event` the type of the message. A snapshot that replaces what the client held
 * is the event `reset`.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export const SERVER_SENT_EVENTS: EventFormat = {
  contentType: 'text/event-stream; charset=utf-8',
  open: (retryMs) => `retry: ${retryMs}\n\n`,
  // An event, because an EventSource does not show comments.
  idleHeartbeat: 'event: heartbeat\ndata: {"type":"heartbeat"}\n\n',
  format(json, message, { position }) {
    const event = message.type === 'snapshot' && message.reset ? 'reset' : message.type
    return `${position && `id: ${position}\n`}event: ${event}\ndata: ${json}\n\n`
  },
  formatList: (json, { type }, position) => `${position && `id: ${position}\n`}event: ${type}\ndata: ${json}\n\n`,
  begin: (tasks, missing, list) => `event: subscribed\ndata: ${JSON.stringify({ type: 'subscribed', tasks, missing, ...(list && { list }) })}\n\n`,
  comeBack: (afterMs) => `retry: ${afterMs}\n\n`,
}

/** One line a change, for `curl -N`. */
export const TEXT_LINES: EventFormat = {
  contentType: 'text/plain; charset=utf-8',
  open: () => '',
  idleHeartbeat: 'still here\n',
  format: (_, message, { hasMany }) => `${hasMany ? `${message.taskId}  ` : ''}${describe(message)}\n`,
  formatList: (_, message) => describeList(message).map((text) => `${text}\n`).join(''),
  begin: (tasks, missing) => `${tasks} tasks${missing.length > 0 ? `; not found: ${missing.join(', ')}` : ''}\n`,
  comeBack: (afterMs) => `the server restarts; come back in ${afterMs} ms\n`,
}

/** In the order in which they are chosen where the client has no wish of its own. */
const FORMATS: Record<string, EventFormat | undefined> = { 'application/json': undefined, 'text/plain': TEXT_LINES, 'text/event-stream': SERVER_SENT_EVENTS }

/** What the client likes best of what there is, by `Accept`; undefined is the stored list, also for one that takes none of them. */
export function chooseFormat(accept: string | undefined): EventFormat | undefined {
  const [wanted = ''] = new Negotiator({ headers: { accept } }).mediaTypes(Object.keys(FORMATS))
  return FORMATS[wanted]
}

function describe(message: StreamMessage): string {
  const { type, status, version } = message
  const head = `v${String(version).padEnd(3)} ${status.padEnd(10)}`
  switch (type) {
    case 'snapshot': {
      const { finishedAt, startedAt, createdAt, title, progress, result, failure } = message.task
      const news = [title, progress && describeProgress(progress), failure?.message, status === 'COMPLETED' && JSON.stringify(result)]
      return line(finishedAt ?? startedAt ?? createdAt, head, news)
    }
    case 'resumed':
      return line('', head, ['goes on from here'])
    case 'heartbeat':
      return line('', head, ['still here'])
    case 'progress':
      return line(message.progress.at, head, [describeProgress(message.progress)])
    case 'log':
      return line(message.line.at, head, [`${message.line.level}: ${message.line.text}`])
    case 'transition': {
      const { at, attempt, reason, failure, result } = message
      const ending = status === 'COMPLETED' ? JSON.stringify(result ?? null) : failure?.message === reason ? null : failure?.message
      return line(at, head, [attempt > 0 && `attempt ${attempt}`, reason, ending])
    }
  }
}

function describeList(message: ListStreamMessage): string[] {
  if (message.type === 'list') return message.items.map(describeRow)
  const { upsert = [], remove = [] } = message
  return [...upsert.map(describeRow), ...remove.map((id) => `${id}  has left the list`)]
}

function describeRow({ id, version, status, title, progress, failure, finishedAt, startedAt, createdAt }: TaskSummary): string {
  const head = `v${String(version).padEnd(3)} ${status.padEnd(10)}`
  return `${id}  ${line(finishedAt ?? startedAt ?? createdAt, head, [title, status === 'PROCESSING' && progress && describeProgress(progress), failure?.message])}`
}

function describeProgress({ fraction, message }: Progress): string {
  return [fraction === null ? '' : `${Math.round(fraction * 100)} %`, message ?? ''].filter(Boolean).join(' ')
}

/** A line stays one, whatever a handler has written. */
function line(at: string, head: string, news: readonly (string | null | undefined | false)[]): string {
  const text = `${at.padEnd(24)}  ${head}  ${news.filter(Boolean).join('  ')}`
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').trimEnd()
}
