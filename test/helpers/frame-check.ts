/** Checks frames of real servers against `/asyncapi.json`, as a client generated from it would. */
import { createChecker } from '../../src/definitions/schema-errors.js'
import type { StreamMessage } from '../../src/protocol/stream.js'
import { describeStreams } from '../../src/web/docs/asyncapi.js'

const document = JSON.parse(JSON.stringify(describeStreams())) as ReturnType<typeof describeStreams>
const checkers = new Map(
  Object.entries(document.components.messages).map(([name, { payload }]) => [name, createChecker(payload)]),
)

/** @throws Error when the frame matches none of the document's messages */
export function readFrame(text: string): StreamMessage {
  const message = JSON.parse(text) as StreamMessage
  const errors = checkers.get(message.type)?.check(message)
  if (errors === undefined || errors.length > 0)
    throw new Error(`not in /asyncapi.json: ${JSON.stringify(errors)} ${text}`)
  return message
}
