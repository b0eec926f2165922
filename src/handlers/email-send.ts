/**
 * Sends an e-mail over SMTP, once per task as far as SMTP allows: the acceptance is recorded, so a later attempt does
 * not send it again. If a worker is lost between the server's "250 OK" and that record, the e-mail is sent twice, with
 * the same Message-ID.
 *
 * A mail server that does not answer occupies only a few of the worker's slots (`receiver-gate.ts`), and none for
 * longer than a minute, however slowly it answers.
 *
 * Without SMTP_URL, messages are written to `.eml` files in a folder, for development, and the log says so.
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
  /** `smtp://user:password@host:587` or `smtps://…`; if omitted, files in `folder`. */
  smtpUrl?: string | undefined
  /** The sender if the task names none. */
  from: string
  /** The folder for messages if there is no server. */
  folder: string
  /** Keeps the disk of `folder` from filling up; if omitted, files may fill it. */
  floor?: DiskFloor | undefined
  /** How many attempts this process runs at the same time, of all types in the queue. Default 128. */
  slots?: number | undefined
  /**
   * How long a mail server may take for each answer, and for a whole message, in milliseconds. Default 20 s and 60 s.
   */
  timeouts?: { answerMs: number; wholeMs: number }
}

const TIMEOUTS = { answerMs: 20_000, wholeMs: 60_000 }
const MAX_RECIPIENTS = 50
/**
 * One address, in the form that people write it; the server makes the final decision. Line breaks are refused: they
 * would start a header.
 */
const Address = Type.String({
  maxLength: 320,
  pattern: '^[^\\s@<>,;:"]+@[^\\s@<>,;:"]+\\.[^\\s@<>,;:".]+$',
  examples: ['ada@example.com'],
})
const Line = (title: string, description: string) =>
  Type.String({ minLength: 1, maxLength: 500, pattern: '^[^\\r\\n]*$', title, description })

const Payload = Type.Object(
  {
    to: Type.Array(Address, {
      minItems: 1,
      maxItems: MAX_RECIPIENTS,
      title: 'To',
      description: 'The addresses of the recipients.',
    }),
    cc: Type.Optional(
      Type.Array(Address, { maxItems: MAX_RECIPIENTS, title: 'Cc', description: 'The addresses that receive a copy.' }),
    ),
    bcc: Type.Optional(
      Type.Array(Address, {
        maxItems: MAX_RECIPIENTS,
        title: 'Bcc',
        description: 'The addresses that receive a copy hidden from the other recipients.',
      }),
    ),
    from: Type.Optional({ ...Address, title: 'From', description: 'The sender; EMAIL_FROM if omitted.' }),
    replyTo: Type.Optional({ ...Address, title: 'Reply to', description: 'The address for replies.' }),
    subject: Line('Subject', 'One line.'),
    text: Type.Optional(Type.String({ maxLength: 200_000, title: 'Text', description: 'The message as plain text.' })),
    html: Type.Optional(
      Type.String({ maxLength: 200_000, title: 'HTML', description: 'The message as HTML, in addition to the text.' }),
    ),
  },
  { additionalProperties: false },
)

const Result = Type.Object(
  {
    messageId: Type.String(),
    accepted: Type.Array(Type.String(), { description: 'Addresses that the server accepted.' }),
    rejected: Type.Array(Type.String(), { description: 'Addresses that the server refused.' }),
    over: Type.Enum(['smtp', 'file'], { description: 'How the message was sent.' }),
  },
  { additionalProperties: false },
)
type Result = Static<typeof Result>

export function createEmailSend({ smtpUrl, from, folder, floor, slots, timeouts = TIMEOUTS }: EmailOptions) {
  const gate = new ReceiverGate({ slots })
  return defineTask({
    type: 'email.send',
    title: 'Send an e-mail',
    description:
      'Sends an e-mail over SMTP, once. Retried while the server is unreachable, answers with a temporary error (4xx), or refuses something that an operator can fix, such as a password (535). If it refuses the address or the message, the task fails.',
    payload: Payload,
    result: Result,
    attempts: 8,
    backoff: { kind: 'exponential', firstMs: 5_000, maxMs: 3_600_000 },

    async run({ subject, to, text = '', html, ...others }, context) {
      const message: SendMailOptions = {
        from,
        to,
        subject,
        text,
        ...others,
        ...(html !== undefined && { html }),
        // The same in each attempt, so that a recipient can recognise a duplicate.
        messageId: `<${context.taskId}@${(others.from ?? from).split('@')[1]}>`,
        // Values of a task are text, and never file names or addresses to fetch.
        disableFileAccess: true,
        disableUrlAccess: true,
      }
      const isOwnSender = others.from !== undefined
      return context.once('send', () =>
        smtpUrl === undefined ? writeToFile(message, context) : sendOver(smtpUrl, message, isOwnSender, context),
      )
    },
  })

  function sendOver(
    url: string,
    message: SendMailOptions,
    isOwnSender: boolean,
    { signal }: TaskContext,
  ): Promise<Result> {
    return gate.call({
      url: new URL(url),
      signal,
      async send() {
        const deadline = new AbortController()
        const timer = setTimeout(
          () => deadline.abort(new Error(`the mail server took longer than ${timeouts.wholeMs} ms`)),
          timeouts.wholeMs,
        )
        // On shutdown it continues for the remaining time: the task runs again, and would resend whatever the server
        // accepts now.
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

  /** Written completely or not at all, and readable only by the owner. */
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

/** Loaded with the first e-mail: it takes memory, also in processes that never send one. */
const loadMailer = () => import('nodemailer')

async function sendNow(url: string, message: SendMailOptions, answerMs: number): Promise<Result> {
  const { createTransport } = await loadMailer()
  const bounds = {
    connectionTimeout: answerMs,
    greetingTimeout: answerMs,
    socketTimeout: answerMs,
    dnsTimeout: answerMs,
  }
  const transport = createTransport({ url, ...bounds } as never)
  try {
    const { messageId, accepted, rejected } = (await transport.sendMail(message)) as {
      messageId: string
      accepted: string[]
      rejected: string[]
    }
    return { messageId, accepted, rejected, over: 'smtp' }
  } finally {
    transport.close()
  }
}

function recipientsOf({ to, cc, bcc }: SendMailOptions): string[] {
  return [to, cc, bcc].flatMap((addresses) => (addresses ?? []) as string[])
}
