/** A real SMTP server, which counts what it takes. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { SMTPServer } from 'smtp-server'
import type { TestScope } from './services.js'

export interface ReceivedEmail {
  to: string[]
  content: string
}

/** `answer` may refuse an address, or a message, with an SMTP code. */
export async function startSmtpServer(t: TestScope, answer: { address?: (address: string) => number; message?: () => number } = {}) {
  const received: ReceivedEmail[] = []
  const refuse = (code: number) => Object.assign(new Error('as the test says'), { responseCode: code })
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    onRcptTo({ address }, _session, callback) {
      const code = answer.address?.(address) ?? 250
      callback(code === 250 ? null : refuse(code))
    },
    onData(stream, session, callback) {
      void text(stream).then((content) => {
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
