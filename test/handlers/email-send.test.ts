/** E-mails through a real SMTP server. */
import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { createEmailSend } from '../../src/handlers/email-send.js'
import { runDefinition } from '../../src/testing/run-definition.js'
import { startSmtpServer, type SmtpRefusal } from '../helpers/smtp.js'
import { startTarpit, trickle } from '../helpers/tarpits.js'

const open = (smtpUrl: string | undefined, folder = '') =>
  createEmailSend({ smtpUrl, from: 'tasks@example.com', folder })
const MESSAGE = {
  to: ['ada@example.com', 'bob@example.com'],
  cc: ['eve@example.com'],
  subject: 'Grüße',
  text: 'Hello',
  html: '<p>Hello</p>',
}
const TASK = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'

t.test('a message is sent once, with an id derived from its task, and not again by a later attempt', async (t) => {
  const { url, received } = await startSmtpServer(t)
  const run = await runDefinition(open(url), MESSAGE, { taskId: TASK })
  t.match(run, {
    status: 'COMPLETED',
    result: {
      messageId: `<${TASK}@example.com>`,
      accepted: ['ada@example.com', 'bob@example.com', 'eve@example.com'],
      rejected: [],
      over: 'smtp',
    },
  })
  t.match(received[0]?.content, new RegExp(`Message-ID: <${TASK}@example.com>`, 'i'))
  t.match(received[0]?.content, /From: tasks@example\.com/)
  t.same(received[0]?.to, ['ada@example.com', 'bob@example.com', 'eve@example.com'])
  t.match(await runDefinition(open(url), MESSAGE, { taskId: TASK, attempt: 2, effects: run.reported.effects }), {
    status: 'COMPLETED',
  })
  t.equal(received.length, 1)
})

t.test(
  'a worker that dies between the acceptance and the record sends it again, with the same Message-ID',
  async (t) => {
    const { url, received } = await startSmtpServer(t)
    const lost = await runDefinition(open(url), MESSAGE, { crashAt: 'after-effect:send' })
    t.match(await runDefinition(open(url), MESSAGE, { after: lost }), { status: 'COMPLETED', attempt: 2 })
    const ids = received.map(({ content }) => /^Message-ID: (.*)$/im.exec(content)?.[1])
    t.same(ids, [`<${lost.taskId}@example.com>`, `<${lost.taskId}@example.com>`])
  },
)

t.test('permanent refusals are final, and temporary ones are retried', async (t) => {
  const no = await startSmtpServer(t, { address: () => 550 })
  t.match(await runDefinition(open(no.url), MESSAGE), {
    status: 'FAILED',
    error: { name: 'PermanentFailure', message: /refused: .*550/s },
  })
  const later = await startSmtpServer(t, { message: () => 451 })
  t.match(await runDefinition(open(later.url), MESSAGE), {
    status: 'RETRYING',
    error: { message: /could not send the e-mail: .*451/s },
  })
  const some = await startSmtpServer(t, { address: (address) => (address.startsWith('bob') ? 550 : 250) })
  t.match(await runDefinition(open(some.url), MESSAGE), {
    status: 'COMPLETED',
    result: { rejected: ['bob@example.com'] },
  })
  t.match(await runDefinition(open('smtp://127.0.0.1:1'), MESSAGE), {
    status: 'RETRYING',
    error: { message: /ECONNREFUSED/ },
  })
})

const REFUSALS: [SmtpRefusal, 'RETRYING' | 'FAILED'][] = [
  // Temporary errors, at any point.
  [{ at: 'connect', code: 421 }, 'RETRYING'],
  [{ at: 'login', code: 454, text: '4.7.0 Temporary authentication failure' }, 'RETRYING'],
  [{ at: 'sender', code: 451 }, 'RETRYING'],
  [{ at: 'recipient', code: 450, text: '4.2.0 Greylisted, try again' }, 'RETRYING'],
  [{ at: 'message', code: 421 }, 'RETRYING'],
  // Errors that an operator can fix.
  [{ at: 'connect', code: 554, text: 'no SMTP service here' }, 'RETRYING'],
  [{ at: 'login', code: 535, text: '5.7.8 Error: authentication failed' }, 'RETRYING'],
  [{ at: 'login', code: 534, text: '5.7.9 Please log in with your web browser' }, 'RETRYING'],
  [{ at: 'login', code: 538 }, 'RETRYING'],
  [{ at: 'sender', code: 530, text: '5.7.0 Must issue a STARTTLS command first' }, 'RETRYING'],
  [{ at: 'sender', code: 550, text: 'Sender not verified' }, 'RETRYING'],
  [{ at: 'recipient', code: 554, text: '5.7.1 Relay access denied' }, 'RETRYING'],
  [{ at: 'recipient', code: 552, text: 'too many recipients' }, 'RETRYING'],
  [{ at: 'recipient', code: 521, text: 'does not accept mail' }, 'RETRYING'],
  [{ at: 'message', code: 550, text: '5.3.2 system not accepting network messages' }, 'RETRYING'],
  [{ at: 'message', code: 554, text: '5.4.6 mail loop' }, 'RETRYING'],
  // Errors that are about this message.
  [{ at: 'recipient', code: 550, text: '5.1.1 User unknown' }, 'FAILED'],
  [{ at: 'recipient', code: 553 }, 'FAILED'],
  [{ at: 'message', code: 552, text: '5.3.4 message too big' }, 'FAILED'],
  [{ at: 'message', code: 554, text: '5.7.1 rejected as spam' }, 'FAILED'],
]

t.test('errors that an operator can fix are retried, and errors about the message are final', async (t) => {
  for (const [always, status] of REFUSALS) {
    const { url } = await startSmtpServer(t, { always })
    const withLogin = always.at === 'login' ? url.replace('//', '//user:password@') : url
    const run = await runDefinition(open(withLogin), MESSAGE)
    t.match(
      run,
      { status, error: { message: new RegExp(`: .*${always.code}`, 's') } },
      `${always.at} ${always.code} ${always.text ?? ''}`,
    )
  }
  const { url } = await startSmtpServer(t, { always: { at: 'sender', code: 550 } })
  t.match(
    await runDefinition(open(url), { ...MESSAGE, from: 'me@example.com' }),
    { status: 'FAILED' },
    'the sender that the task names',
  )
})

t.test('a mail server that never finishes is given up after a while, and its connection closed', async (t) => {
  const patient = (socket: Socket) =>
    socket.on('data', (data) => socket.write(String(data).startsWith('EHLO') ? '250-tarpit\r\n' : '250 ok\r\n'))
  const dribble = (socket: Socket) => trickle('220-', 'a')(socket)
  for (const greet of [
    () => {},
    dribble,
    (socket: Socket) => socket.write('220-hello\r\n'),
    (socket: Socket) => patient(socket).write('220 hello\r\n'),
  ]) {
    const tarpit = await startTarpit(t, undefined, greet)
    const definition = createEmailSend({
      smtpUrl: `smtp://127.0.0.1:${tarpit.port}`,
      from: 'tasks@example.com',
      folder: '',
      timeouts: { answerMs: 500, wholeMs: 1_000 },
    })
    t.match(await runDefinition(definition, MESSAGE), {
      status: 'RETRYING',
      error: { message: /^could not send the e-mail: / },
    })
    await tarpit.isEmpty()
  }
})

t.test('a mail server that does not answer occupies a few slots, and the other e-mails are put back', async (t) => {
  const tarpit = await startTarpit(t)
  const controller = new AbortController()
  const definition = createEmailSend({
    smtpUrl: `smtp://127.0.0.1:${tarpit.port}`,
    from: 'tasks@example.com',
    folder: '',
  })
  const runs = Array.from({ length: 20 }, () => runDefinition(definition, MESSAGE, { signal: controller.signal }))
  const over = await Promise.all(runs.slice(4))
  t.ok(over.every((run) => run.status === 'RETRYING' && /under way: 4/.test(run.error.message)))
  await tarpit.holds(4)
  controller.abort('cancelled')
  for (const run of await Promise.all(runs.slice(0, 4))) t.match(run, { status: 'CANCELLED' })
  await tarpit.isEmpty()
  t.equal(tarpit.taken, 4)
})

t.test('addresses and subjects with injected headers are refused, and files are not read', async (t) => {
  for (const wrong of [
    { to: ['ada'] },
    { to: ['a@b.c\r\nBcc: x@y.z'] },
    { to: ['a@b.c, d@e.f'] },
    { subject: 'a\r\nBcc: x@y.z' },
    { to: [] },
    { attachments: [] },
  ]) {
    await t.rejects(
      runDefinition(open('smtp://127.0.0.1:1'), { ...MESSAGE, ...wrong }),
      { name: 'TypeError', message: /^\/payload/ },
      JSON.stringify(wrong),
    )
  }
})

t.test('without a server the e-mail is written to a file, and the log says so', async (t) => {
  const folder = join(t.testdir(), 'emails')
  const run = await runDefinition(open(undefined, folder), MESSAGE, { taskId: TASK })
  t.match(run, {
    status: 'COMPLETED',
    result: { over: 'file' },
    reported: { logs: [{ level: 'warn', message: /SMTP_URL is not set/ }] },
  })
  t.match(await readFile(join(folder, `${TASK}.eml`), 'utf8'), /To: ada@example\.com, bob@example\.com/)
})
