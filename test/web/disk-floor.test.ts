/**
 * What clients see when the disk is too full for files: uploads and files are refused, and everything else continues.
 */
import { readdir } from 'node:fs/promises'
import { request } from 'node:http'
import t from 'tap'
import { createChecker } from '../../src/definitions/schema-errors.js'
import { Readiness } from '../../src/protocol/http.js'
import { startApp } from '../helpers/app.js'
import { openTestDatabase } from '../helpers/database.js'
import { OWN_TASKS } from '../helpers/processes.js'

process.env['AWS_ACCESS_KEY_ID'] = 'test'
process.env['AWS_SECRET_ACCESS_KEY'] = 'test'

/** More than any disk has. */
const FULL = { MIN_FREE_DISK_MB: '1000000000' }

t.test(
  'below the minimum of free space uploads get 507 and files fail by name, while tasks are accepted and completed',
  async (t) => {
    const folder = t.testdir()
    const app = await startApp(t, ['worker', 'relay'], { ...FULL, ARTIFACTS_DIR: folder, TASKS_DIR: OWN_TASKS })
    const upload = (body: BodyInit) =>
      fetch(`${app.address}/api/uploads`, { method: 'POST', body, duplex: 'half' } as RequestInit)
    for (const body of ['small', Buffer.alloc(8_000_000), new Blob(['unknown length']).stream()]) {
      const answer = await upload(body as BodyInit)
      t.equal(answer.status, 507)
      t.match(answer.headers.get('content-type'), /problem\+json/)
      t.ok(Number(answer.headers.get('retry-after')) > 0)
      t.match(await answer.json(), { code: 'disk_full', detail: /not stored.*MIN_FREE_DISK_MB/ })
    }
    const headers = { 'content-type': 'application/json', prefer: 'wait=20' }
    const create = async (body: object) => {
      const answer = await fetch(`${app.address}/api/tasks`, { method: 'POST', headers, body: JSON.stringify(body) })
      return { status: answer.status, task: (await answer.json()) as object }
    }
    const created = await Promise.all(
      Array.from({ length: 20 }, () => create({ type: 'demo.sleep', payload: { steps: 0 } })),
    )
    for (const { status, task } of created) t.match({ status, task }, { status: 200, task: { status: 'COMPLETED' } })
    t.match((await create({ type: 'test.file' })).task, {
      status: 'FAILED',
      attempt: 2,
      failure: { code: 'disk_full', message: /MIN_FREE_DISK_MB/ },
    })
    const ready = await fetch(`${app.address}/readyz`)
    t.equal(ready.status, 200, 'a load balancer keeps sending creates')
    const body = await ready.json()
    t.match(body, {
      status: 'degraded',
      checks: { postgres: { status: 'ok' }, disk: { status: 'low', detail: new RegExp(folder) } },
    })
    t.same(createChecker(Readiness).check(body), [])
    t.same(
      (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()),
      [],
    )
    const db = await openTestDatabase(t, app.databaseUrl)
    t.same(await db.run({ name: 'test_artifacts', text: 'select name from taskwire.artifacts' }, []), [])
  },
)

t.test('readiness names the full disk of a watched folder, and is unchanged while there is space', async (t) => {
  const watched = t.testdir()
  const full = await startApp(t, [], {
    ...FULL,
    ARTIFACTS_DIR: 's3://files/x?endpoint=http://127.0.0.1:1',
    SMTP_URL: 'smtp://127.0.0.1:1',
    WATCHED_DIRS: `/nonexistent,${watched}`,
  })
  t.match(await (await fetch(`${full.address}/readyz`)).json(), {
    status: 'degraded',
    checks: {
      disk: {
        status: 'low',
        detail: new RegExp(`^the disk of ${watched} has \\d+ MB free, and MIN_FREE_DISK_MB is 1000000000$`),
      },
    },
  })
  const well = await startApp(t, [], { MIN_FREE_DISK_MB: '1' })
  t.match(await (await fetch(`${well.address}/readyz`)).json(), { status: 'ok', checks: { disk: { status: 'ok' } } })
})

t.test('a client that is still sending reads why its upload is refused', async (t) => {
  const app = await startApp(t, [], FULL)
  const sent = request(`${app.address}/api/uploads`, { method: 'POST', headers: { 'transfer-encoding': 'chunked' } })
  const answered = new Promise<number | undefined>((resolve, reject) => {
    sent.on('response', (response) => resolve(response.resume().statusCode))
    sent.on('error', reject)
  })
  let isAnswered = false
  void answered.catch(() => {}).then(() => (isAnswered = true))
  while (!isAnswered) await new Promise((resolve) => sent.write(Buffer.alloc(65_536), resolve))
  sent.end()
  t.equal(await answered, 507)
  const declared = request(`${app.address}/api/uploads`, {
    method: 'POST',
    headers: { 'content-length': String(300 * 1024 * 1024) },
  })
  declared.flushHeaders()
  t.equal(
    await new Promise((resolve) =>
      declared.on('response', (response) => resolve(response.statusCode)).on('error', () => {}),
    ),
    413,
    'an upload that announces its size is refused before it is sent',
  )
  declared.destroy()
})
