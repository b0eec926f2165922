/**
 * Sends an e-mail over SMTP, once for the task as far as SMTP allows: its acceptance is recorded, so that a later attempt does not
 * send it again. A worker that is lost between the server's "250 OK" and that record sends it twice, with the same Message-ID.
 *
 * A mail server that does not answer holds a few of the worker's slots and no more (`receiver-gate.ts`), and none for longer than a
 * minute, however slowly it answers.
 *
 * Without SMTP_URL messages become `.eml` files in a folder, for development, and the log says so.
 */
import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { SendMailOptions } from 'nodemailer'
import { Type, type Static } from 'typebox'
import { explainDiskError, type DiskFloor } from '../artifacts/disk-floor.js'
import { defineTask, type TaskContext } from '../definitions/definition.js'
import { makePrivateFolders, PRIVATE_FILE_MODE } from '../private-files.js'
import { ReceiverGate } from './receiver-gate.js'
import { explainSmtpError } from './smtp-errors.js'

export interface EmailOptions {
  /** `smtp://user:password@host:587` or `smtps://…`; files in `folder` when left out. */
  smtpUrl?: string | undefined
  /** Who sends, when the task does not say. */
  from: string
  /** Where messages go without a server. */
  folder: string
  /** What keeps the disk of `folder` from filling up; without one files may fill it. */
  floor?: DiskFloor | undefined
  /** Attempts that this process runs at the same time, of all types in the queue. Default 128. */
  slots?: number | undefined
  /** How long a mail server may take for each of its answers, and for the whole of one message, in milliseconds. Default 20 s and 60 s. */
  timeouts?: { answerMs: number; wholeMs: number }
}

const TIMEOUTS = { answerMs: 20_000, wholeMs: 60_000 }
const MAX_RECIPIENTS = 50
/** One address, in the form that people write it; the server has the last word. No line breaks: they would begin a header. */
const Address = Type.String({ maxLength: 320, pattern: '^[^\\s@<>,;:"]+@[^\\s@<>,;:"]+\\.[^\\s@<>,;:".]+$', examples: ['ada@example.com'] })
const Line = (title: string, description: string) => Type.String({ minLength: 1, maxLength: 500, pattern: '^[^\\r\\n]*$', title, description })

const Payload = Type.Object(
  {
    to: Type.Array(Address, { minItems: 1, maxItems: MAX_RECIPIENTS, title: 'To', description: 'The addresses of those who receive it.' }),
    cc: Type.Optional(Type.Array(Address, { maxItems: MAX_RECIPIENTS, title: 'Cc', description: 'Who receives a copy.' })),
    bcc: Type.Optional(Type.Array(Address, { maxItems: MAX_RECIPIENTS, title: 'Bcc', description: 'Who receives a copy unseen.' })),
    from: Type.Optional({ ...Address, title: 'From', description: 'Who sends; EMAIL_FROM when left out.' }),
    replyTo: Type.Optional({ ...Address, title: 'Reply to', description: 'Where answers go.' }),
    subject: Line('Subject', 'One line.'),
    text: Type.Optional(Type.String({ maxLength: 200_000, title: 'Text', description: 'The message as plain text.' })),
    html: Type.Optional(Type.String({ maxLength: 200_000, title: 'HTML', description: 'The message as HTML, beside the text.' })),
  },
  { additionalProperties: false },
)

const Result = Type.Object(
  {
    messageId: Type.String(),
    accepted: Type.Array(Type.String(), { description: 'Addresses that the server has taken.' }),
    rejected: Type.Array(Type.String(), { description: 'Addresses that it has refused.' }),
    over: Type.Enum(['smtp', 'file'], { description: 'How it was sent.' }),
  },
  { additionalProperties: false },
)
type Result = Static<typeof Result>

export function createEmailSend({ smtpUrl, from, folder, floor, slots, timeouts = TIMEOUTS }: EmailOptions) {
  const gate = new ReceiverGate({ slots })
  return defineTask({
    type: 'email.send',
    title: 'Send an e-mail',
    description: 'Sends an e-mail over SMTP, once. Tried again while the server is away, asks for patience (4xx), or refuses what its operator can fix, such as a password (535). An address or a message that it refuses is final.',
    payload: Payload,
    result: Result,
    attempts: 8,
    backoff: { kind: 'exponential', firstMs: 5_000, maxMs: 3_600_000 },

    async run({ subject, to, text = '', html, ...others }, context) {
      const message: SendMailOptions = {
        ...{ from, to, subject, text, ...others },
        ...(html !== undefined && { html }),
        // The same in each attempt: who has the message already can tell.
        messageId: `<${context.taskId}@${(others.from ?? from).split('@')[1]}>`,
        // What a task says is text, and never the name of a file or an address to fetch.
        disableFileAccess: true,
        disableUrlAccess: true,
      }
      const isOwnSender = others.from !== undefined
      return context.once('send', () => (smtpUrl === undefined ? writeToFile(message, context) : sendOver(smtpUrl, message, isOwnSender, context)))
    },
  })

  function sendOver(url: string, message: SendMailOptions, isOwnSender: boolean, { signal }: TaskContext): Promise<Result> {
    return gate.call({
      url: new URL(url),
      signal,
      async send() {
        const deadline = new AbortController()
        const timer = setTimeout(() => deadline.abort(new Error(`the mail server took longer than ${timeouts.wholeMs} ms`)), timeouts.wholeMs)
        // At a shutdown it goes on for the moment that is left: the task runs again, and would send twice what the server takes now.
        const onAbort = () => signal.reason === 'cancelled' && deadline.abort(signal.reason)
        signal.addEventListener('abort', onAbort)
        try {
          return await sendNow(url, { ...message, signal: deadline.signal }, timeouts.answerMs)
        } catch (error) {
          throw explainSmtpError(deadline.signal.aborted ? (deadline.signal.reason as unknown) : error, isOwnSender)
        } finally {
          clearTimeout(timer)
          signal.removeEventListener('abort', onAbort)
        }
      },
    })
  }

  async function writeToFile(message: SendMailOptions, { taskId, log }: TaskContext): Promise<Result> {
    const { createTransport } = await loadMailer()
    const composed = await createTransport({ streamTransport: true, buffer: true }).sendMail(message)
    const file = join(folder, `${taskId}.eml`)
    await storePrivately(file, composed.message as Buffer)
    log.warn({ file }, 'SMTP_URL is not set: the e-mail was written to a file')
    return { messageId: String(message.messageId), accepted: recipientsOf(message), rejected: [], over: 'file' }
  }

  /** Whole or not at all, and for nobody else to read. */
  async function storePrivately(file: string, content: Buffer): Promise<void> {
    await floor?.assertRoom(folder, content.length)
    const part = `${file}.part`
    try {
      await makePrivateFolders(folder)
      await writeFile(part, content, { mode: PRIVATE_FILE_MODE, flush: true })
      await rename(part, file)
    } catch (error) {
      await rm(part, { force: true }).catch(() => {})
      throw explainDiskError(error)
    }
  }
}

/** With the first e-mail: it takes memory, also in processes that never send one. */
const loadMailer = () => import('nodemailer')

async function sendNow(url: string, message: SendMailOptions, answerMs: number): Promise<Result> {
  const { createTransport } = await loadMailer()
  const bounds = { connectionTimeout: answerMs, greetingTimeout: answerMs, socketTimeout: answerMs, dnsTimeout: answerMs }
  const transport = createTransport({ url, ...bounds } as never)
  try {
    const { messageId, accepted, rejected } = (await transport.sendMail(message)) as { messageId: string; accepted: string[]; rejected: string[] }
    return { messageId, accepted, rejected, over: 'smtp' }
  } finally {
    transport.close()
  }
}

function recipientsOf({ to, cc, bcc }: SendMailOptions): string[] {
  return [to, cc, bcc].flatMap((addresses) => (addresses ?? []) as string[])
}
