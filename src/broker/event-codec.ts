/**
 * How events travel: as JSON, on one of a fixed number of channels. The task's id selects the channel (slot), so a
 * process subscribes to the slots in which it has streams rather than to every task.
 *
 * A NOTIFY payload must stay under 8,000 bytes. An event above `MAX_EVENT_BYTES` therefore travels as
 * `{"type":"hint","taskId":…,"version":…}`: the event itself is in PostgreSQL. Both name their tenant, except the
 * default one.
 *
 * Lists need a little about every task. So the notices of all events published together are sent once more, in one
 * message, on a channel to which only processes with watched lists subscribe.
 */
import type { Notice } from '../protocol/notice.js'
import type { Event } from '../protocol/stream.js'
import type { TaskId } from '../protocol/task.js'
import type { EventListener } from './broker.js'

export const SLOT_COUNT = 16
/**
 * The largest event sent whole, in bytes of JSON. Also the largest message of notices, unless a single notice is
 * larger.
 */
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

/** The text to publish: the event, or a hint when it is too large. */
export function encodeEvent(event: Event): string {
  const json = JSON.stringify({ ...event, facts: undefined })
  if (Buffer.byteLength(json) <= MAX_EVENT_BYTES) return json
  const hint: Hint = {
    type: 'hint',
    taskId: event.taskId,
    version: event.version,
    ...(event.tenant !== undefined && { tenant: event.tenant }),
  }
  return JSON.stringify(hint)
}

/** Passes a published message to the listener. @throws when the text is not JSON, or the listener throws */
export function deliverMessage(text: string, listener: EventListener): void {
  const message = JSON.parse(text) as Event | Hint
  if (message.type === 'hint') listener.onHint(message.taskId, message.version, message.tenant)
  else listener.onEvent(message, text)
}

/** Whether the event must also go to the channel of cancellations. */
export function isCancel(event: Event): boolean {
  return event.type === 'transition' && event.status === 'CANCELLING'
}

/** The notice of an event for lists; undefined for a log line. */
export function toNotice({ type, taskId, tenant, version, status, facts }: Event): Notice | undefined {
  if (type === 'log') return undefined
  return {
    taskId,
    ...(tenant !== undefined && { tenant }),
    version,
    status,
    ...(facts && { facts }),
    ...(type === 'progress' && { isProgress: true }),
  }
}

/** The texts to publish: all notices in order, as many per message as fit. */
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
