/** Callbacks, from the create with a `callbackUrl` to a real receiver that checks the signature. */
import { text } from 'node:stream/consumers'
import { Webhook } from 'standardwebhooks'
import t from 'tap'
import type { Task } from '../../src/protocol/task.js'
import { createWebhookDeliver } from '../../src/handlers/webhook-deliver.js'
import { startApp } from '../helpers/app.js'
import { spawnTaskwire } from '../helpers/processes.js'
import { createTask } from '../helpers/watch.js'
import { serve } from './serve.js'

interface Received {
  id: string
  body: { type: string; data: Task }
}

t.test('each end is told once, signed, and again while the receiver fails', async (t) => {
  const { address, databaseUrl } = await startApp(t, ['worker', 'relay'], { HTTP_REQUEST_ALLOW_PRIVATE: 'true' })
  const printed = spawnTaskwire(t, ['webhook-secret'], { env: { DATABASE_URL: databaseUrl } })
  await printed.exited
  const webhook = new Webhook(printed.stdout().trim())
  const received: Received[] = []
  let failures = 1
  const url = await serve(t, async (request, response) => {
    const body = await text(request)
    // Throws when the signature does not fit.
    const message = webhook.verify(body, request.headers as Record<string, string>) as Received['body']
    received.push({ id: String(request.headers['webhook-id']), body: message })
    response.statusCode = message.data.status === 'FAILED' && failures-- > 0 ? 503 : 204
    response.end()
  })
  const done = await createTask(address, { payload: { steps: 0 }, callbackUrl: `${url}/done` })
  const failed = await createTask(address, { payload: { steps: 1, stepMs: 1, failAt: 1 }, callbackUrl: `${url}/failed` })
  const cancelled = await createTask(address, { delayMs: 60_000, callbackUrl: `${url}/cancelled` })
  await fetch(`${address}/api/tasks/${cancelled.id}/cancel`, { method: 'POST' })
  const ofParent = async (id: string) => ((await (await fetch(`${address}/api/tasks?parent=${id}`)).json()) as { items: Task[] }).items[0]
  const untilDelivered = async (id: string): Promise<Task> => {
    for (;;) {
      const delivery = await ofParent(id)
      if (delivery?.status === 'COMPLETED') return delivery
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  const deliveries = await Promise.all([done, failed, cancelled].map(({ id }) => untilDelivered(id)))
  t.same(deliveries.map(({ type, attempt }) => `${type} ${attempt}`), ['webhook.deliver 1', 'webhook.deliver 2', 'webhook.deliver 1'])
  const kinds = received.map(({ body: { type, data } }) => `${type} ${data.status}`).sort()
  t.same(kinds, ['task.cancelled CANCELLED', 'task.completed COMPLETED', 'task.failed FAILED', 'task.failed FAILED'])
  const [first, second] = received.filter(({ body }) => body.type === 'task.failed')
  t.equal(first?.id, second?.id, 'the receiver can tell that it is the same')
  const log = (await (await fetch(`${address}/api/tasks/${deliveries[1]?.id}/attempts`)).json()) as { items: unknown[] }
  t.match(log.items, [{ outcome: 'failed', error: { message: 'the receiver answered with 503' } }, { outcome: 'completed' }], 'the delivery log')
})

t.test('the pauses between attempts grow to a day', async (t) => {
  const { backoff, attempts } = createWebhookDeliver({ allowPrivate: false })
  if (typeof backoff !== 'function') return t.fail('it has a schedule of its own')
  const pauses = Array.from({ length: (attempts ?? 0) - 1 }, (_, index) => backoff(index + 1, undefined))
  t.ok(pauses.every((pause, index) => index === 0 || pause > (pauses[index - 1] ?? 0)))
  t.ok((pauses[0] ?? 0) < 6_000 && (pauses.at(-1) ?? 0) > 20 * 3_600_000)
})
