/**
 * How events travel: as JSON, on one of a fixed number of channels chosen by the task's id, so that a process
 * subscribes to the slots it has watchers for and not to every task.
 *
 * NOTIFY takes less than 8,000 bytes, and a hint is enough where the event is in PostgreSQL anyway: an event above
 * `MAX_EVENT_BYTES` travels as `{"type":"hint","taskId":…,"version":…}`. Each says its tenant, unless that is the default.
 *
 * Lists want to hear of every task, and little of each. So the notices of all events that are published together travel once more, in one
 * message, on a channel that only processes with watched lists subscribe to.
 */
import type { Notice } from '../protocol/notice.js'
import type { Event } from '../protocol/stream.js'
import type { TaskId } from '../protocol/task.js'
import type { EventListener } from './broker.js'

export const SLOT_COUNT = 16
/** The largest event carried whole, in bytes of JSON; and the largest message of notices, unless one alone is larger. */
export const MAX_EVENT_BYTES = 6_000

interface Hint {
  type: 'hint'
  taskId: TaskId
  version: number
  tenant?: string
}

/** The slot of a task, 0 to 15: the last digit of its id, which is random in UUIDv7 (RFC 9562). */
export function slotOf(taskId: TaskId): number {
  const digit = Number.parseInt(taskId.slice(-1), SLOT_COUNT)
  return Number.isNaN(digit) ? 0 : digit
}

/** The text to publish. */
export function encodeEvent(event: Event): string {
  const json = JSON.stringify({ ...event, facts: undefined })
  if (Buffer.byteLength(json) <= MAX_EVENT_BYTES) return json
  const hint: Hint = { type: 'hint', taskId: event.taskId, version: event.version, ...(event.tenant !== undefined && { tenant: event.tenant }) }
  return JSON.stringify(hint)
}

/**
 * Calls the listener with what was published.
 * @throws when the text is not JSON, or the listener throws
 */
export function deliverMessage(text: string, listener: EventListener): void {
  const message = JSON.parse(text) as Event | Hint
  if (message.type === 'hint') listener.onHint(message.taskId, message.version, message.tenant)
  else listener.onEvent(message, text)
}

/** Whether workers must hear of it. */
export function isCancel(event: Event): boolean {
  return event.type === 'transition' && event.status === 'CANCELLING'
}

/** What lists are told of an event; undefined for a log line. */
export function toNotice({ type, taskId, tenant, version, status, facts }: Event): Notice | undefined {
  if (type === 'log') return undefined
  return { taskId, ...(tenant !== undefined && { tenant }), version, status, ...(facts && { facts }), ...(type === 'progress' && { isProgress: true }) }
}

/** The texts to publish: all notices in order, as many together as a message holds. */
export function encodeNotices(notices: readonly Notice[]): string[] {
  const texts: string[] = []
  let together: string[] = []
  let bytes = 0
  for (const json of notices.map((notice) => JSON.stringify(notice))) {
    const added = Buffer.byteLength(json) + 1
    if (bytes + added > MAX_EVENT_BYTES && together.length > 0) {
      texts.push(`[${together.join()}]`)
      together = []
      bytes = 0
    }
    together.push(json)
    bytes += added
  }
  if (together.length > 0) texts.push(`[${together.join()}]`)
  return texts
}

/** @throws when the text is not JSON, or the listener throws */
export function deliverNotices(text: string, listener: EventListener): void {
  listener.onNotices?.(JSON.parse(text) as Notice[])
}
