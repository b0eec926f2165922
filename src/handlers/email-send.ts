/**
 * Sends an e-mail over SMTP, once for the task as far as SMTP allows: its acceptance is recorded, so that a later attempt does not
 * send it again. A worker that is lost between the server's "250 OK" and that record sends it twice, with the same Message-ID.
 *
 * Without SMTP_URL messages become `.eml` files in a folder, for development, and the log says so.
 */
import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { SendMailOptions } from 'nodemailer'
import { Type, type Static } from 'typebox'
import { makePrivateFolders, PRIVATE_FILE_MODE } from '../private-files.js'
import { defineTask, type TaskContext } from '../tasks/definition.js'
import { explainDiskError, type DiskFloor } from '../tasks/disk-floor.js'
import { PermanentFailure } from '../tasks/outcome-errors.js'

export interface EmailOptions {
  /** `smtp://user:password@host:587` or `smtps://…`; files in `folder` when left out. */
  smtpUrl?: string | undefined
  /** Who sends, when the task does not say. */
  from: string
  /** Where messages go without a server. */
  folder: string
  /** What keeps the disk of `folder` from filling up; without one files may fill it. */
  floor?: DiskFloor | undefined
}

const TIMEOUT_MS = 20_000
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

export function createEmailSend({ smtpUrl, from, folder, floor }: EmailOptions) {
  return defineTask({
    type: 'email.send',
    title: 'Send an e-mail',
    description: 'Sends an e-mail over SMTP, once. Tried again while the server is away or asks for patience (4xx); an address that it refuses is final.',
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
      return context.once('send', () => (smtpUrl === undefined ? writeToFile(message, context) : sendOver(smtpUrl, message)))
    },
  })

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

async function sendOver(smtpUrl: string, message: SendMailOptions): Promise<Result> {
  const { createTransport } = await loadMailer()
  const transport = createTransport({ url: smtpUrl, connectionTimeout: TIMEOUT_MS, greetingTimeout: TIMEOUT_MS, socketTimeout: TIMEOUT_MS } as never)
  try {
    const { messageId, accepted, rejected } = (await transport.sendMail(message)) as { messageId: string; accepted: string[]; rejected: string[] }
    return { messageId, accepted, rejected, over: 'smtp' }
  } catch (error) {
    throw explain(error)
  } finally {
    transport.close()
  }
}

/** 5xx is the server's last word, 4xx asks for patience, anything else is the line to it. @see RFC 5321 section 4.2.1 */
function explain(error: unknown): Error {
  const { responseCode = 0, code, message } = error as { responseCode?: number; code?: string; message: string }
  if (responseCode >= 500 || code === 'EENVELOPE') return new PermanentFailure(`the mail server refused: ${message}`, { cause: error })
  return new Error(`the e-mail was not sent: ${message}`, { cause: error })
}

function recipientsOf({ to, cc, bcc }: SendMailOptions): string[] {
  return [to, cc, bcc].flatMap((addresses) => (addresses ?? []) as string[])
}
