/**
 * Tells a client of the end of its task: a signed POST to the `callbackUrl` that it gave. Made by the database with that end
 * (see `drizzle/0008_end_of_task.sql`), and a task like any other: it is tried again, and its attempts are the delivery log.
 *
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
import { Webhook } from 'standardwebhooks'
import { Type } from 'typebox'
import { TaskId } from '../protocol/task.js'
import { defineTask } from '../tasks/definition.js'
import { PermanentFailure } from '../tasks/outcome-errors.js'
import { readSecret, readTasks } from '../tasks/store/index.js'
import { AddressRefusedError, createAddressGuard, type GuardOptions } from './address-guard.js'
import { sendGuarded } from './guarded-request.js'

const TIMEOUT_MS = 15_000
const MAX_ANSWER_BYTES = 1_024
/** The schedule that the specification recommends, in seconds; the last of ten attempts comes after three days. */
const PAUSES_SECONDS = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]

export interface WebhookOptions extends GuardOptions {
  /** `whsec_…`; that of the installation when left out. */
  secret?: string | undefined
}

export function createWebhookDeliver(options: WebhookOptions) {
  const guard = createAddressGuard(options)
  return defineTask({
    type: 'webhook.deliver',
    title: 'Call back',
    description: 'Sends a signed POST that a task has ended. Made for tasks with a callbackUrl; retried for three days.',
    payload: Type.Object(
      {
        taskId: { ...TaskId, title: 'Task', description: 'Whose end is told.' },
        url: Type.String({ maxLength: 2_000, pattern: '^https?://', title: 'URL', description: 'Whom it is told to.', examples: ['https://example.com/hook'] }),
      },
      { additionalProperties: false },
    ),
    result: Type.Object({ status: Type.Integer({ description: 'The HTTP status of the answer.' }) }),
    attempts: PAUSES_SECONDS.length + 1,
    backoff: (failures) => (PAUSES_SECONDS[failures - 1] ?? 86_400) * 1_000 * (0.9 + 0.2 * Math.random()),
    retryOn: (error) => !(error instanceof AddressRefusedError),

    async run({ taskId, url }, { taskId: messageId, db, tenant, signal }) {
      const [task] = await readTasks(db, tenant, [taskId])
      if (task === undefined) throw new PermanentFailure(`there is no task ${taskId} any more`)
      const timestamp = new Date()
      const body = JSON.stringify({ type: `task.${task.status.toLowerCase()}`, timestamp: task.finishedAt, data: task })
      const headers = {
        'content-type': 'application/json',
        'user-agent': 'Taskwire',
        // The same in each attempt: a receiver that has seen it has had the message.
        'webhook-id': messageId,
        'webhook-timestamp': String(Math.floor(timestamp.getTime() / 1_000)),
        'webhook-signature': new Webhook(options.secret ?? (await readSecret(db, 'webhooks'))).sign(messageId, timestamp, body),
      }
      // A redirect is not followed: who receives the message should be who was named.
      const { status } = await sendGuarded(
        { method: 'POST', url: new URL(url), headers, body, timeoutMs: TIMEOUT_MS, maxBytes: MAX_ANSWER_BYTES, isWanted: () => true },
        guard,
        signal,
      )
      if (status === 410) throw new PermanentFailure('the receiver wants no more messages (410)')
      if (status < 200 || status > 299) throw new Error(`the receiver answered with ${status}`)
      return { status }
    },
  })
}
