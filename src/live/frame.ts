/** Outgoing messages: serialised once, sent by every stream. */
import type { Event, LogMessage, ProgressMessage, StreamMessage, TransitionMessage } from '../protocol/stream.js'

export interface Frame<Message extends StreamMessage = StreamMessage> {
  readonly message: Message
  readonly json: string
  readonly bytes: number
}
export type TransitionFrame = Frame<TransitionMessage>
export type EventFrame = TransitionFrame | Frame<ProgressMessage>

/** Transitions of one task with consecutive versions. */
export type TransitionRange = readonly TransitionFrame[]

/** `json` is the text of the message, if it already exists. */
export function toFrame<Message extends StreamMessage>(
  message: Message,
  json = JSON.stringify(message),
): Frame<Message> {
  return { message, json, bytes: Buffer.byteLength(json) }
}

/** The part of an event that clients receive, which is all but its tenant. `json` is the event's text. */
export function toEventFrame(event: Event, json: string): EventFrame | Frame<LogMessage> {
  if (event.tenant === undefined) return frameOf(event, json)
  const message = { ...event }
  delete message.tenant
  return frameOf(message)
}

/** One call per type of message, so that the compiler knows the type of the frame. */
function frameOf(message: Event, json?: string): EventFrame | Frame<LogMessage> {
  if (message.type === 'transition') return toFrame(message, json)
  return message.type === 'log' ? toFrame(message, json) : toFrame(message, json)
}

export function isLine(frame: EventFrame | Frame<LogMessage>): frame is Frame<LogMessage> {
  return frame.message.type === 'log'
}

export function isTransition(frame: EventFrame): frame is TransitionFrame {
  return frame.message.type === 'transition'
}

/** The transitions that follow `version` without a gap. */
export function toTransitionRange(messages: readonly TransitionMessage[], version: number): TransitionRange {
  const gapAt = messages.findIndex((message, index) => message.version !== version + 1 + index)
  return (gapAt === -1 ? messages : messages.slice(0, gapAt)).map((message) => toFrame(message))
}

/** The transition to `version`, if the range contains it. */
export function findInRange(range: TransitionRange, version: number): TransitionFrame | undefined {
  const first = range[0]
  return first && range[version - first.message.version]
}
