/**
 * Tells a client of the end of its task: a signed POST to the `callbackUrl` that it gave. Made by the database with that end
 * (see `drizzle/0009_callbacks.sql`), and a task like any other: it is tried again, and its attempts are the delivery log.
 *
 * The message is worth its signature: it only goes to the URL that the task itself names, and only once the task has ended; the
 * signed body names both, so that a receiver can tell that the message was meant for it. Nobody else may create such a task.
 *
 * A receiver that does not answer harms neither other tasks nor other receivers: callbacks have a queue and slots of their own, and
 * each receiver a bound and a circuit breaker (`receiver-gate.ts`). While its circuit is open no attempt is spent; the database ends a
 * callback as EXPIRED after four days, whatever happens.
 *
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
import type { Principal } from '../access/principal.js'
import { Webhook } from 'standardwebhooks'
import { Type } from 'typebox'
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

/** Where the database puts callbacks: the queue that a type with a `concurrency` has. */
export const CALLBACK_QUEUE = 'webhook-deliver'
const DEFAULT_TIMEOUT_MS = 15_000
/** Attempts that one worker runs at the same time: they wait for others, so many cost little. */
const DEFAULT_SLOTS = 128
const FAILURES_TO_OPEN = 5
/** The schedule that the specification recommends, in seconds; the last of ten attempts comes after three days. */
const PAUSES_SECONDS = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]

export interface WebhookOptions extends GuardOptions {
  /** `whsec_…`; that of the installation when left out. */
  secret?: string | undefined
  /** How many callbacks this process sends at the same time. Default 128. */
  slots?: number | undefined
  /** How long a receiver may take until the head of its answer is there, in milliseconds. Default 15 s. */
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
  /** Where the message was sent: the `callbackUrl` as it was given. */
  url: string
  data: Task
}

export function createWebhookDeliver(options: WebhookOptions) {
  const { slots = DEFAULT_SLOTS, timeoutMs = DEFAULT_TIMEOUT_MS } = options
  const guard = createAddressGuard(options)
  const gate = new ReceiverGate({ slots, failuresToOpen: FAILURES_TO_OPEN })
  return defineTask({
    type: 'webhook.deliver',
    title: 'Call back',
    description: 'Sends a signed POST that a task has ended. Made for tasks with a callbackUrl, by the server only; retried for three days.',
    isInternal: true,
    concurrency: slots,
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

    async run({ taskId, url: text }, { taskId: messageId, db, principal, signal }) {
      const url = new URL(text)
      const { status } = await gate.call({
        url,
        signal,
        isFailure: (answer) => answer.status === 429 || answer.status >= 500,
        async send() {
          const body = JSON.stringify(await readMessage(principal, db, taskId, text))
          const headers = await sign(db, messageId, body)
          // A redirect is not followed: who receives the message should be who was named. What the answer says is not read.
          return sendGuarded({ method: 'POST', url, headers, body, timeoutMs, maxBytes: 'none', isWanted: () => true }, guard, signal)
        },
      })
      if (status === 410) throw new PermanentFailure('the receiver wants no more messages (410)')
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
      // The same in each attempt: a receiver that has seen it has had the message.
      'webhook-id': messageId,
      'webhook-timestamp': String(Math.floor(timestamp.getTime() / 1_000)),
      'webhook-signature': new Webhook(secret).sign(messageId, timestamp, body),
    }
  }
}

/** @throws PermanentFailure when the task did not ask for this call */
async function readMessage(principal: Principal, db: Database, taskId: TaskId, url: string): Promise<CallbackMessage> {
  const [task] = await readTasks(principal, db, [taskId])
  if (task === undefined) throw new PermanentFailure(`there is no task ${taskId} any more`)
  if (task.callbackUrl !== url) throw new PermanentFailure(`the task ${taskId} does not name this URL as its callbackUrl`)
  if (!isFinal(task.status)) throw new PermanentFailure(`the task ${taskId} has not ended: it is ${task.status}`)
  return { type: `task.${task.status.toLowerCase()}`, timestamp: task.finishedAt, taskId, url, data: task }
}
