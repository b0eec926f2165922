/** E-mails to a real SMTP server, which counts what it takes. */
import { readFile } from 'node:fs/promises'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { AddressInfo } from 'node:net'
import { SMTPServer } from 'smtp-server'
import t, { type Test } from 'tap'
import { createEmailSend } from '../../src/handlers/email-send.js'
import { runDefinition } from '../../src/testing/run-definition.js'

interface Received {
  to: string[]
  content: string
}

/** `answer` may refuse an address, or a message, with an SMTP code. */
async function startServer(t: Test, answer: { address?: (address: string) => number; message?: () => number } = {}) {
  const received: Received[] = []
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
  return { received, url: `smtp://127.0.0.1:${(server.server.address() as AddressInfo).port}`, server }
}

const open = (smtpUrl: string | undefined, folder = '') => createEmailSend({ smtpUrl, from: 'tasks@example.com', folder })
const MESSAGE = { to: ['ada@example.com', 'bob@example.com'], cc: ['eve@example.com'], subject: 'Grüße', text: 'Hello', html: '<p>Hello</p>' }
const TASK = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'

t.test('a message is taken once, with an id of its task, and not again by a later attempt', async (t) => {
  const { url, received } = await startServer(t)
  const run = await runDefinition(open(url), MESSAGE, { taskId: TASK })
  t.match(run, { status: 'COMPLETED', result: { messageId: `<${TASK}@example.com>`, accepted: ['ada@example.com', 'bob@example.com', 'eve@example.com'], rejected: [], over: 'smtp' } })
  t.match(received[0]?.content, new RegExp(`Message-ID: <${TASK}@example.com>`, 'i'))
  t.match(received[0]?.content, /From: tasks@example\.com/)
  t.same(received[0]?.to, ['ada@example.com', 'bob@example.com', 'eve@example.com'])
  t.match(await runDefinition(open(url), MESSAGE, { taskId: TASK, attempt: 2, effects: run.reported.effects }), { status: 'COMPLETED' })
  t.equal(received.length, 1)
})

t.test('what the server refuses for good is final, what it refuses for now is tried again', async (t) => {
  const no = await startServer(t, { address: () => 550 })
  t.match(await runDefinition(open(no.url), MESSAGE), { status: 'FAILED', error: { name: 'PermanentFailure', message: /refused: .*550/s } })
  const later = await startServer(t, { message: () => 451 })
  t.match(await runDefinition(open(later.url), MESSAGE), { status: 'RETRYING', error: { message: /not sent: .*451/s } })
  const some = await startServer(t, { address: (address) => (address.startsWith('bob') ? 550 : 250) })
  t.match(await runDefinition(open(some.url), MESSAGE), { status: 'COMPLETED', result: { rejected: ['bob@example.com'] } })
  t.match(await runDefinition(open('smtp://127.0.0.1:1'), MESSAGE), { status: 'RETRYING', error: { message: /ECONNREFUSED/ } })
})

t.test('addresses and subjects that would be more than that are refused, and files are not read', async (t) => {
  for (const wrong of [{ to: ['ada'] }, { to: ['a@b.c\r\nBcc: x@y.z'] }, { to: ['a@b.c, d@e.f'] }, { subject: 'a\r\nBcc: x@y.z' }, { to: [] }, { attachments: [] }]) {
    await t.rejects(runDefinition(open('smtp://127.0.0.1:1'), { ...MESSAGE, ...wrong }), { name: 'TypeError', message: /^\/payload/ }, JSON.stringify(wrong))
  }
})

t.test('without a server it becomes a file, and the log says so', async (t) => {
  const folder = join(t.testdir(), 'emails')
  const run = await runDefinition(open(undefined, folder), MESSAGE, { taskId: TASK })
  t.match(run, { status: 'COMPLETED', result: { over: 'file' }, reported: { logs: [{ level: 'warn', message: /SMTP_URL is not set/ }] } })
  t.match(await readFile(join(folder, `${TASK}.eml`), 'utf8'), /To: ada@example\.com, bob@example\.com/)
})
