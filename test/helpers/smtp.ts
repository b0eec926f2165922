/** A real SMTP server that counts the messages it accepts. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { SMTPServer } from 'smtp-server'
import type { TestScope } from './services.js'

interface ReceivedEmail {
  to: string[]
  content: string
}

export interface SmtpRefusal {
  at: 'connect' | 'login' | 'sender' | 'recipient' | 'message'
  code: number
  /** The text after the code, with an enhanced code first if there is one. */
  text?: string
}

/**
 * `answer` may return an SMTP code that refuses an address or a message; `always` refuses at one stage. The server
 * requires a login only if `always` refuses it.
 */
export async function startSmtpServer(
  t: TestScope,
  answer: { address?: (address: string) => number; message?: () => number; always?: SmtpRefusal } = {},
) {
  const received: ReceivedEmail[] = []
  const { always } = answer
  const refuseAt = (at: SmtpRefusal['at']) =>
    always?.at === at
      ? Object.assign(new Error(always.text ?? 'refused by the test'), { responseCode: always.code })
      : null
  const refuse = (code: number) => Object.assign(new Error('refused by the test'), { responseCode: code })
  const server = new SMTPServer({
    authOptional: always?.at !== 'login',
    allowInsecureAuth: true,
    disabledCommands: ['STARTTLS'],
    onConnect: (_session, callback) => callback(refuseAt('connect')),
    onAuth: (_login, _session, callback) => callback(refuseAt('login'), { user: 'anybody' }),
    onMailFrom: (_address, _session, callback) => callback(refuseAt('sender')),
    onRcptTo({ address }, _session, callback) {
      const code = answer.address?.(address) ?? 250
      callback(refuseAt('recipient') ?? (code === 250 ? null : refuse(code)))
    },
    onData(stream, session, callback) {
      void text(stream).then((content) => {
        const refusal = refuseAt('message')
        if (refusal !== null) return callback(refusal)
        const code = answer.message?.() ?? 250
        if (code !== 250) return callback(refuse(code))
        received.push({ to: session.envelope.rcptTo.map(({ address }) => address), content })
        callback()
      })
    },
  })
  server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  t.teardown(() => new Promise<void>((resolve) => server.close(resolve)))
  return { received, url: `smtp://127.0.0.1:${(server.server.address() as AddressInfo).port}` }
}
