/**
 * Notifies a client that its task has ended: a signed POST to the task's `callbackUrl`. The database creates it
 * together with that end (see `drizzle/0009_callbacks.sql`). It is a task like any other: it is retried, and its
 * attempts are the delivery log.
 *
 * The signature can be trusted: a message is only sent to the URL that the task itself names, and only once the task
 * has ended. The signed body names both, so a receiver can tell that the message was meant for it. No client can create
 * such a task.
 *
 * A receiver that does not answer harms neither other tasks nor other receivers: callbacks have a queue and slots of
 * their own, and each receiver has a limit and a circuit breaker (`receiver-gate.ts`). While its circuit is open no
 * attempt is spent. In any case the database ends a callback as EXPIRED after four days.
 *
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
import { Webhook } from 'standardwebhooks'
import { Type } from 'typebox'
import type { Principal } from '../access/principal.js'
import type { Database } from '../db/database.js'
import { defineTask } from '../definitions/definition.js'
import { PermanentFailure } from '../definitions/outcome-errors.js'
import { isFinal } from '../protocol/status.js'
import { TaskId, type Task } from '../protocol/task.js'
import { readTasks } from '../store/reads/tasks.js'
import { readSecret } from '../store/secrets.js'
import { AddressRefusedError, createAddressGuard, type GuardOptions } from './address-guard.js'
import { sendGuarded } from './guarded-request.js'
import { ReceiverGate } from './receiver-gate.js'

/** The queue into which the database puts callbacks: that of a type with a `concurrency`. */
export const CALLBACK_QUEUE = 'webhook-deliver'
const DEFAULT_TIMEOUT_MS = 15_000
/** How many attempts one worker runs at the same time: they mostly wait for receivers, so many cost little. */
const DEFAULT_SLOTS = 128
const FAILURES_TO_OPEN = 5
/** The schedule that the specification recommends, in seconds; the last of ten attempts is made after three days. */
const PAUSES_SECONDS = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]

export interface WebhookOptions extends GuardOptions {
  /** `whsec_…`; if omitted, the secret of the installation. */
  secret?: string | undefined
  /** How many callbacks this process sends at the same time. Default 128. */
  slots?: number | undefined
  /** How long a receiver may take to send the head of its answer, in milliseconds. Default 15 s. */
  timeoutMs?: number
}

/** The signed body of a callback. */
export interface CallbackMessage {
  /** `task.completed`, `task.failed`, `task.cancelled` or `task.expired`. */
  type: string
  /** When the task ended, ISO 8601. */
  timestamp: string | null
  /** The task that ended. */
  taskId: TaskId
  /** The URL to which the message was sent: the `callbackUrl` as it was given. */
  url: string
  data: Task
}

export function createWebhookDeliver(options: WebhookOptions) {
  const { slots = DEFAULT_SLOTS, timeoutMs = DEFAULT_TIMEOUT_MS } = options
  const guard = createAddressGuard(options)
  const gate = new ReceiverGate({ slots, failuresToOpen: FAILURES_TO_OPEN })
  return defineTask({
    type: 'webhook.deliver',
    title: 'Send a callback',
    description:
      'Sends a signed POST when a task has ended. Created only by the server, for tasks with a callbackUrl; retried for three days.',
    isInternal: true,
    concurrency: slots,
    payload: Type.Object(
      {
        taskId: { ...TaskId, title: 'Task', description: 'The task that has ended.' },
        url: Type.String({
          maxLength: 2_000,
          pattern: '^https?://',
          title: 'URL',
          description: 'The address that receives the message.',
          examples: ['https://example.com/hook'],
        }),
      },
      { additionalProperties: false },
    ),
    result: Type.Object({ status: Type.Integer({ description: 'The HTTP status of the answer.' }) }),
    attempts: PAUSES_SECONDS.length + 1,
    backoff: (failures) => (PAUSES_SECONDS[failures - 1] ?? 86_400) * 1_000 * (0.9 + 0.2 * Math.random()),
    retryOn: (error) => !(error instanceof AddressRefusedError),

    async run({ taskId, url: text }, { taskId: messageId, db, principal, signal }) {
      const url = new URL(text)
      const { status } = await gate.call({
        url,
        signal,
        isFailure: (answer) => answer.status === 429 || answer.status >= 500,
        async send() {
          const body = JSON.stringify(await readMessage(principal, db, taskId, text))
          const headers = await sign(db, messageId, body)
          // Redirects are not followed: the message is only for the receiver that was named. The body of the answer is
          // not read.
          return sendGuarded(
            { method: 'POST', url, headers, body, timeoutMs, maxBytes: 'none', isWanted: () => true },
            guard,
            signal,
          )
        },
      })
      if (status === 410) throw new PermanentFailure('the receiver accepts no more messages (410)')
      if (status < 200 || status > 299) throw new Error(`the receiver answered with ${status}`)
      return { status }
    },
  })

  async function sign(db: Database, messageId: TaskId, body: string): Promise<Record<string, string>> {
    const timestamp = new Date()
    const secret = options.secret ?? (await readSecret(db, 'webhooks'))
    return {
      'content-type': 'application/json',
      'user-agent': 'Taskwire',
      // The same in each attempt, so that a receiver can recognise a duplicate.
      'webhook-id': messageId,
      'webhook-timestamp': String(Math.floor(timestamp.getTime() / 1_000)),
      'webhook-signature': new Webhook(secret).sign(messageId, timestamp, body),
    }
  }
}

/** @throws PermanentFailure if the task did not request this callback */
async function readMessage(principal: Principal, db: Database, taskId: TaskId, url: string): Promise<CallbackMessage> {
  const [task] = await readTasks(principal, db, [taskId])
  if (task === undefined) throw new PermanentFailure(`the task ${taskId} no longer exists`)
  if (task.callbackUrl !== url)
    throw new PermanentFailure(`the task ${taskId} does not have this URL as its callbackUrl`)
  if (!isFinal(task.status)) throw new PermanentFailure(`the task ${taskId} has not ended: it is ${task.status}`)
  return { type: `task.${task.status.toLowerCase()}`, timestamp: task.finishedAt, taskId, url, data: task }
}
