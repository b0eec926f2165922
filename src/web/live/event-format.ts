/** The formats of stream messages over plain HTTP: server-sent events, or text lines for people. */
import Negotiator from 'negotiator'
import type { ListStreamMessage } from '../../protocol/list.js'
import type { StreamMessage } from '../../protocol/stream.js'
import type { Progress, TaskId, TaskSummary } from '../../protocol/task.js'

export interface EventFormat {
  readonly contentType: string
  /** Sent first, with the delay after which the client should reconnect if the connection is lost. */
  open(retryMs: number): string
  /** The heartbeat of a stream of many tasks before its first message. */
  readonly idleHeartbeat: string
  /**
   * The text of a message; empty if nothing is sent for it. `position` is what the client sends when it reconnects; a
   * stream of many tasks names the task of each message.
   */
  format(json: string, message: StreamMessage, stream: { position: string; hasMany: boolean }): string
  /** The same for a message of a list. */
  formatList(json: string, message: ListStreamMessage, position: string): string
  /** The number of followed tasks, for a stream of many; `list` is the name of a list with this many rows. */
  begin(taskCount: number, missing: readonly TaskId[], list?: string): string
  /** Sent last if the client should reconnect after a delay. */
  comeBack(afterMs: number): string
}

/**
 * Server-sent events: `id` is the version, `event` the type of the message. A snapshot that replaces the client's copy
 * is the event `reset`.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export const SERVER_SENT_EVENTS: EventFormat = {
  contentType: 'text/event-stream; charset=utf-8',
  open: (retryMs) => `retry: ${retryMs}\n\n`,
  // Sent as an event, because an EventSource does not expose comments.
  idleHeartbeat: 'event: heartbeat\ndata: {"type":"heartbeat"}\n\n',
  format(json, message, { position }) {
    const event = message.type === 'snapshot' && message.reset ? 'reset' : message.type
    return `${position && `id: ${position}\n`}event: ${event}\ndata: ${json}\n\n`
  },
  formatList: (json, { type }, position) => `${position && `id: ${position}\n`}event: ${type}\ndata: ${json}\n\n`,
  begin: (tasks, missing, list) =>
    `event: subscribed\ndata: ${JSON.stringify({ type: 'subscribed', tasks, missing, ...(list && { list }) })}\n\n`,
  comeBack: (afterMs) => `retry: ${afterMs}\n\n`,
}

/** One line per change, for `curl -N`. */
export const TEXT_LINES: EventFormat = {
  contentType: 'text/plain; charset=utf-8',
  open: () => '',
  idleHeartbeat: 'still here\n',
  format(_, message, { hasMany }) {
    // The status, in a line of its own, says that a task no longer waits.
    if (message.type === 'waiting' && message.waitingFor === null) return ''
    return `${hasMany ? `${message.taskId}  ` : ''}${describe(message)}\n`
  },
  formatList: (_, message) =>
    describeList(message)
      .map((text) => `${text}\n`)
      .join(''),
  begin: (tasks, missing) => `${tasks} tasks${missing.length > 0 ? `; not found: ${missing.join(', ')}` : ''}\n`,
  comeBack: (afterMs) => `the server is restarting; reconnect in ${afterMs} ms\n`,
}

/** In the order of preference if the client has none. */
const FORMATS: Record<string, EventFormat | undefined> = {
  'application/json': undefined,
  'text/plain': TEXT_LINES,
  'text/event-stream': SERVER_SENT_EVENTS,
}

/**
 * The client's preferred format, by `Accept`; undefined means the stored list, also if the client accepts none of them.
 */
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
      const news = [
        title,
        progress && describeProgress(progress),
        failure?.message,
        status === 'COMPLETED' && JSON.stringify(result),
      ]
      return line(finishedAt ?? startedAt ?? createdAt, head, news)
    }
    case 'resumed':
      return line('', head, ['continues from here'])
    case 'heartbeat':
      return line('', head, ['still here'])
    case 'progress':
      return line(message.progress.at, head, [describeProgress(message.progress)])
    case 'waiting':
      return line('', head, [message.waitingFor && `waiting: ${message.waitingFor.text}`])
    case 'log':
      return line(message.line.at, head, [`${message.line.level}: ${message.line.text}`])
    case 'transition': {
      const { at, attempt, reason, failure, result } = message
      const ending =
        status === 'COMPLETED' ? JSON.stringify(result ?? null) : failure?.message === reason ? null : failure?.message
      return line(at, head, [attempt > 0 && `attempt ${attempt}`, reason, ending])
    }
  }
}

function describeList(message: ListStreamMessage): string[] {
  if (message.type === 'list') return message.items.map(describeRow)
  const { upsert = [], remove = [] } = message
  return [...upsert.map(describeRow), ...remove.map((id) => `${id}  has left the list`)]
}

function describeRow({
  id,
  version,
  status,
  title,
  progress,
  failure,
  finishedAt,
  startedAt,
  createdAt,
}: TaskSummary): string {
  const head = `v${String(version).padEnd(3)} ${status.padEnd(10)}`
  return `${id}  ${line(finishedAt ?? startedAt ?? createdAt, head, [title, status === 'PROCESSING' && progress && describeProgress(progress), failure?.message])}`
}

function describeProgress({ fraction, message }: Progress): string {
  return [fraction === null ? '' : `${Math.round(fraction * 100)} %`, message ?? ''].filter(Boolean).join(' ')
}

/** A line stays one line, whatever a handler has written. */
function line(at: string, head: string, news: readonly (string | null | undefined | false)[]): string {
  const text = `${at.padEnd(24)}  ${head}  ${news.filter(Boolean).join('  ')}`
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').trimEnd()
}
