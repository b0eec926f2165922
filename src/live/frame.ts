/** Outgoing messages: serialised once, sent by every stream. */
import type { ProgressMessage, StreamMessage, TransitionMessage } from '../protocol/stream.js'

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
export function toFrame<Message extends StreamMessage>(message: Message, json = JSON.stringify(message)): Frame<Message> {
  return { message, json, bytes: Buffer.byteLength(json) }
}

export function toEventFrame(event: TransitionMessage | ProgressMessage, json: string): EventFrame {
  return event.type === 'transition' ? toFrame(event, json) : toFrame(event, json)
}

export function isTransition(frame: EventFrame): frame is TransitionFrame {
  return frame.message.type === 'transition'
}

/** The transitions that follow `version` without a gap. */
export function toTransitionRange(messages: readonly TransitionMessage[], version: number): TransitionRange {
  const gapAt = messages.findIndex((message, index) => message.version !== version + 1 + index)
  return (gapAt === -1 ? messages : messages.slice(0, gapAt)).map((message) => toFrame(message))
}

/** The transition to `version`, if the run contains it. */
export function findInRange(run: TransitionRange, version: number): TransitionFrame | undefined {
  const first = run[0]
  return first && run[version - first.message.version]
}
