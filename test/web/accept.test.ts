/** `Accept` selects the format according to RFC 9110 (section 12.5.1): by its weights, not by the words it contains. */
import t from 'tap'
import { SERVER_SENT_EVENTS, TEXT_LINES, chooseFormat } from '../../src/web/live/event-format.js'
import { startApp } from '../helpers/app.js'
import { createTask } from '../helpers/watch.js'

const STORED = undefined
const WISHES: [string | undefined, ReturnType<typeof chooseFormat>][] = [
  [undefined, STORED],
  ['', STORED],
  ['*/*', STORED],
  ['application/json', STORED],
  ['application/*', STORED],
  ['text/event-stream', SERVER_SENT_EVENTS],
  ['TEXT/Event-Stream', SERVER_SENT_EVENTS],
  ['text/event-stream;q=0.1', SERVER_SENT_EVENTS],
  ['text/event-stream, */*', SERVER_SENT_EVENTS],
  ['text/event-stream, application/json;q=0.9', SERVER_SENT_EVENTS],
  ['application/json;q=0.5, text/event-stream;q=0.6', SERVER_SENT_EVENTS],
  ['text/event-stream;q=0', STORED],
  ['text/event-stream;q=0.000', STORED],
  ['text/event-stream ; q=0, */*', STORED],
  ['*/*, text/event-stream;q=0', STORED],
  ['text/plain;q=0', STORED],
  ['text/event-stream;q=0.2, application/json;q=0.8', STORED],
  ['application/json, text/plain, */*', STORED],
  ['text/html, application/xhtml+xml, */*;q=0.8', STORED],
  ['text/plain', TEXT_LINES],
  ['text/*', TEXT_LINES],
  ['text/plain, application/json;q=0.9', TEXT_LINES],
  ['text/plain;q=0.5, text/event-stream;q=0.4', TEXT_LINES],
  ['text/event-stream;q=0, text/plain', TEXT_LINES],
  ['text/event-streams', STORED],
  ['x-text/event-stream', STORED],
  ['application/x; name="text/event-stream"', STORED],
  ['image/png', STORED],
  ['nonsense', STORED],
]

t.test('the format with the greatest weight is chosen', async (t) => {
  for (const [accept, format] of WISHES) t.equal(chooseFormat(accept), format, String(accept))
})

t.test('a client that does not accept an event stream is not sent one, at either address', async (t) => {
  const { address } = await startApp(t)
  const { id } = await createTask(address, { delayMs: 86_400_000 })
  for (const path of [`/api/tasks/${id}/events`, `/api/tasks/events?ids=${id}`]) {
    for (const accept of [
      'text/event-stream;q=0',
      'text/event-stream;q=0, application/json',
      '*/*, text/event-stream;q=0.000',
    ]) {
      const answer = await fetch(address + path, { headers: { accept } })
      t.match(answer.headers.get('content-type'), 'application/json', `${path} ${accept}`)
      t.match(await answer.json(), { items: [{ version: 1 }] })
    }
  }
})
