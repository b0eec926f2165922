/** E-mails to a real SMTP server. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createEmailSend } from '../../src/handlers/email-send.js'
import { runDefinition } from '../../src/testing/run-definition.js'
import { startSmtpServer } from '../helpers/smtp.js'

const open = (smtpUrl: string | undefined, folder = '') => createEmailSend({ smtpUrl, from: 'tasks@example.com', folder })
const MESSAGE = { to: ['ada@example.com', 'bob@example.com'], cc: ['eve@example.com'], subject: 'Grüße', text: 'Hello', html: '<p>Hello</p>' }
const TASK = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'

t.test('a message is taken once, with an id of its task, and not again by a later attempt', async (t) => {
  const { url, received } = await startSmtpServer(t)
  const run = await runDefinition(open(url), MESSAGE, { taskId: TASK })
  t.match(run, { status: 'COMPLETED', result: { messageId: `<${TASK}@example.com>`, accepted: ['ada@example.com', 'bob@example.com', 'eve@example.com'], rejected: [], over: 'smtp' } })
  t.match(received[0]?.content, new RegExp(`Message-ID: <${TASK}@example.com>`, 'i'))
  t.match(received[0]?.content, /From: tasks@example\.com/)
  t.same(received[0]?.to, ['ada@example.com', 'bob@example.com', 'eve@example.com'])
  t.match(await runDefinition(open(url), MESSAGE, { taskId: TASK, attempt: 2, effects: run.reported.effects }), { status: 'COMPLETED' })
  t.equal(received.length, 1)
})

t.test('a worker that dies between the server and the record sends it again, and who has it can tell', async (t) => {
  const { url, received } = await startSmtpServer(t)
  const lost = await runDefinition(open(url), MESSAGE, { crashAt: 'after-effect:send' })
  t.match(await runDefinition(open(url), MESSAGE, { after: lost }), { status: 'COMPLETED', attempt: 2 })
  const ids = received.map(({ content }) => /^Message-ID: (.*)$/im.exec(content)?.[1])
  t.same(ids, [`<${lost.taskId}@example.com>`, `<${lost.taskId}@example.com>`])
})

t.test('what the server refuses for good is final, what it refuses for now is tried again', async (t) => {
  const no = await startSmtpServer(t, { address: () => 550 })
  t.match(await runDefinition(open(no.url), MESSAGE), { status: 'FAILED', error: { name: 'PermanentFailure', message: /refused: .*550/s } })
  const later = await startSmtpServer(t, { message: () => 451 })
  t.match(await runDefinition(open(later.url), MESSAGE), { status: 'RETRYING', error: { message: /not sent: .*451/s } })
  const some = await startSmtpServer(t, { address: (address) => (address.startsWith('bob') ? 550 : 250) })
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
