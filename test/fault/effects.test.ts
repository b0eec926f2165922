/** Effects of tasks on another server, counted there, and the files that tasks produce, while workers die. */
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import type { CrashPoint } from '../../src/crash-point.js'
import type { CreateTask } from '../../src/protocol/http.js'
import { listTasks } from '../../src/store/reads/list.js'
import { readTasks } from '../../src/store/reads/tasks.js'
import { serve } from '../handlers/serve.js'
import { isDeep } from '../helpers/depth.js'
import { openScene } from '../helpers/scene.js'
import { startSmtpServer } from '../helpers/smtp.js'

const smtp = await startSmtpServer(t)
const requests: { path: string; id: string }[] = []
const sink = await serve(t, async (request, response) => {
  await text(request)
  requests.push({
    path: request.url ?? '',
    id: String(request.headers['idempotency-key'] ?? request.headers['webhook-id']),
  })
  response.end('taken')
})
// The leases are long: if a slow machine kept an attempt from renewing its lease, another attempt would rightly follow.
const scene = await openScene(t, { SMTP_URL: smtp.url, HTTP_REQUEST_ALLOW_PRIVATE: 'true', ATTEMPT_LEASE_SECONDS: '6' })
await Promise.all([scene.start('web'), scene.start('relay')])

const read = async (id: string) => (await readTasks(DEFAULT_PRINCIPAL, scene.db, [id]))[0]
const received = (path: string) => requests.filter((request) => request.path === path)

/** The crash points, and the attempt in which the task still completes. */
const ALL: readonly [CrashPoint, number][] = [
  ['attempt:after-run', 2],
  ['attempt:after-claim', 2],
  ['attempt:after-settle', 1],
]

for (const [point, attempt] of isDeep ? ALL : ALL.slice(0, 1)) {
  // After the settlement the task continues without waiting for a lease to run out: none may, in the next process either.
  const lease: Record<string, string> = attempt === 1 ? { ATTEMPT_LEASE_SECONDS: '60' } : {}
  const keepWorker = () => scene.keep('worker', { TASKWIRE_CRASH_AT: point }, lease)

  /** Creates a task whose worker dies at the crash point, and waits until it has completed. */
  async function survive(t: Test, body: CreateTask): Promise<string> {
    const worker = await keepWorker()
    const id = await scene.create(body)
    await scene.ended([id])
    while (worker.restarts === 0) await new Promise((resolve) => setTimeout(resolve, 20))
    await worker.stop()
    t.match(await read(id), { status: 'COMPLETED', attempt })
    return id
  }

  t.test(`killed at ${point}: an e-mail is sent once`, async (t) => {
    const subject = `about ${point}`
    const id = await survive(t, { type: 'email.send', payload: { to: ['ada@example.com'], subject } })
    const sent = smtp.received.filter(({ content }) => content.includes(subject))
    t.equal(sent.length, 1)
    t.match(sent[0]?.content, new RegExp(`Message-ID: <${id}@`, 'i'))
  })

  t.test(`killed at ${point}: a request that may change something is sent once`, async (t) => {
    const path = `/orders/${point}`
    const id = await survive(t, {
      type: 'http.request',
      payload: { method: 'POST', url: sink + path, body: { item: 1 } },
    })
    t.same(received(path), [{ path, id: `"${id}:request"` }])
  })

  t.test(`killed at ${point}: an export is one whole file`, async (t) => {
    const id = await survive(t, { type: 'tasks.export' })
    const path = `${scene.addresses()[0]}/api/tasks/${id}/artifacts`
    const { items } = (await (await fetch(path)).json()) as { items: { name: string; sha256: string }[] }
    t.match(items, [{ name: 'tasks.csv', sha256: ((await read(id))?.result as { sha256: string }).sha256 }])
    t.equal(items.length, 1)
  })

  t.test(`killed at ${point}: the end is reported, and the receiver can recognize a duplicate`, async (t) => {
    const path = `/ends/${point}`
    const worker = await keepWorker()
    const id = await scene.create({ payload: { steps: 0 }, callbackUrl: sink + path })
    await scene.ended([id])
    const deliveries = async () =>
      (await listTasks(DEFAULT_PRINCIPAL, scene.db, { parent: id, limit: 10 })).map((task) => task.id)
    t.equal((await deliveries()).length, 1)
    await scene.ended(await deliveries())
    await worker.stop()
    t.ok(received(path).length >= 1)
    t.equal(new Set(received(path).map((request) => request.id)).size, 1)
  })
}
