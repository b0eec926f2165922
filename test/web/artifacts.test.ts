/** Files of tasks over REST: lists, ranges, signed links, uploads, and expiry. */
import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import t from 'tap'
import { openDiskStore } from '../../src/artifacts/disk-store.js'
import type { Artifact, Link, Upload } from '../../src/protocol/artifact.js'
import type { Task } from '../../src/protocol/task.js'
import { pruneOnce } from '../../src/relay/prune.js'
import { startApp } from '../helpers/app.js'
import { runFileTask } from '../helpers/artifacts.js'
import { openTestDatabase } from '../helpers/database.js'
import { OWN_TASKS } from '../helpers/processes.js'

const folder = t.testdir()
const app = await startApp(t, ['worker', 'relay'], { TASKS_DIR: OWN_TASKS, ARTIFACTS_DIR: folder })

const get = (path: string, headers: Record<string, string> = {}) => fetch(app.address + path, { headers })

const run = (payload: object) => runFileTask(app.address, payload)

async function list(id: string): Promise<Artifact[]> {
  return ((await (await get(`/api/tasks/${id}/artifacts`)).json()) as { items: Artifact[] }).items
}

const filesOnDisk = async () =>
  (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ name }) => name)

t.test('the file of the last attempt is listed with its size and hash, and downloaded whole or in part', async (t) => {
  const task = await run({})
  t.match(task, { status: 'COMPLETED', attempt: 2 })
  const items = await list(task.id)
  t.match(items, [
    {
      name: 'notes.txt',
      mediaType: 'text/plain; charset=utf-8',
      bytes: 9,
      sha256: createHash('sha256').update('attempt 2').digest('hex'),
    },
  ])
  t.same(
    (await filesOnDisk()).map((name) => name.split('-')[0]),
    ['2'],
    'the file of the first attempt is gone',
  )
  const { download } = items[0]?.links ?? { download: '' }
  const whole = await get(download)
  t.equal(await whole.text(), 'attempt 2')
  t.match(Object.fromEntries(whole.headers), {
    'content-length': '9',
    'content-disposition': 'inline; filename=notes.txt',
    'x-content-type-options': 'nosniff',
    'content-security-policy': /sandbox/,
    etag: `"${items[0]?.sha256}"`,
  })
  const part = await get(download, { range: 'bytes=2-4' })
  t.equal(part.status, 206)
  t.equal(part.headers.get('content-range'), 'bytes 2-4/9')
  t.equal(await part.text(), 'tem')
  t.equal(await (await get(download, { range: 'bytes=-1' })).text(), '2')
  t.equal(
    (await get(download, { range: 'bytes=0-1', 'if-range': '"other"' })).status,
    200,
    'a part of an outdated file is useless',
  )
  const beyond = await get(download, { range: 'bytes=50-60' })
  t.equal(beyond.status, 416)
  t.equal(beyond.headers.get('content-range'), 'bytes */9')
})

t.test('a file is not sent again to a client that has it, nor to one that expects another', async (t) => {
  const { download } = (await list((await run({})).id))[0]?.links ?? { download: '' }
  const etag = (await get(download)).headers.get('etag') ?? ''
  for (const known of [etag, `"other", ${etag}`, `W/${etag}`, '*']) {
    const answer = await get(download, { 'if-none-match': known, range: 'bytes=0-1' })
    t.equal(answer.status, 304, known)
    t.equal(await answer.text(), '')
    t.equal(answer.headers.get('etag'), etag)
  }
  t.equal(await (await get(download, { 'if-none-match': '"other"', 'if-match': etag })).text(), 'attempt 2')
  const other = await get(download, { 'if-match': '"other"' })
  t.equal(other.status, 412)
  t.match(await other.json(), { code: 'file_changed' })
  const { url } = (await (await fetch(`${app.address}${download}/links`, { method: 'POST' })).json()) as Link
  t.equal((await get(url, { 'if-none-match': etag })).status, 304, 'by a link, too')
})

t.test('missing files, and names that point elsewhere, are not found', async (t) => {
  const task = await run({})
  t.equal((await get(`/api/tasks/${task.id}/artifacts/none.txt`)).status, 404)
  for (const name of ['..%2f..%2fpackage.json', '.hidden', 'a%00b']) {
    t.ok([400, 404].includes((await get(`/api/tasks/${task.id}/artifacts/${name}`)).status), name)
  }
  t.equal((await get('/api/tasks/019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10/artifacts')).status, 404)
  const refused = await run({ name: '../escape.txt' })
  t.match(refused, { status: 'FAILED', failure: { message: /artifact name "\.\.\/escape\.txt" is refused/ } })
})

t.test('a signed link opens one file until it expires, and nothing else', async (t) => {
  const task = await run({})
  const make = async (query = '') =>
    (await (
      await fetch(`${app.address}/api/tasks/${task.id}/artifacts/notes.txt/links${query}`, { method: 'POST' })
    ).json()) as Link
  const { url, expiresAt } = await make()
  t.ok(Date.parse(expiresAt) > Date.now() + 3_500_000)
  t.equal(await (await get(url)).text(), 'attempt 2')
  const other = await run({})
  t.equal((await get(url.replace(task.id, other.id))).status, 403)
  t.equal((await get(url.replace(/expires=\d+/, 'expires=99999999999'))).status, 403)
  t.equal(
    (await get(url.replace(/signature=./, (text) => (text.endsWith('A') ? 'signature=B' : 'signature=A')))).status,
    403,
  )
  const short = await make('?expiresInSeconds=1')
  await new Promise((resolve) => setTimeout(resolve, 2_100))
  t.match(await (await get(short.url)).json(), { code: 'link_refused', detail: 'The link has expired.' })
})

t.test('an upload that is a form, or has a range of types, is refused and nothing is stored', async (t) => {
  const form = new FormData()
  form.append('file', new Blob(['the file']), 'photo.png')
  const sent = await fetch(`${app.address}/api/uploads?name=photo.png`, { method: 'POST', body: form })
  t.match(await sent.json(), {
    status: 415,
    code: 'unsupported_media_type',
    errors: [{ pointer: '/content-type', fix: /curl --data-binary @file/ }],
  })
  for (const type of ['*/*', 'image/*', 'Multipart/Form-Data; boundary=x']) {
    const answer = await fetch(`${app.address}/api/uploads`, {
      method: 'POST',
      headers: { 'content-type': type },
      body: 'x',
    })
    t.ok([400, 415].includes(answer.status), type)
    t.match(await answer.json(), { errors: [{ pointer: '/content-type' }] }, type)
  }
  const others = await fetch(`${app.address}/api/uploads`, {
    method: 'POST',
    headers: { 'content-type': 'multipart/mixed; boundary="*"' },
    body: 'x',
  })
  t.match(await others.json(), { mediaType: /^multipart\/mixed; boundary=/ }, 'a file may be of any other type')
  const db = await openTestDatabase(t, app.databaseUrl)
  await db.run({ name: 'test_age', text: `update taskwire.artifacts set expires_at = now()` }, [])
  await pruneOnce(db, openDiskStore(folder))
  t.same(await filesOnDisk(), [])
})

t.test('a task can read an upload, which is removed when it expires', async (t) => {
  const content = Buffer.alloc(3 * 1024 * 1024, 'x')
  const sent = await fetch(`${app.address}/api/uploads?name=input.bin`, {
    method: 'POST',
    headers: { 'content-type': 'image/png' },
    body: content,
  })
  t.equal(sent.status, 201)
  const upload = (await sent.json()) as Upload
  t.match(upload, {
    name: 'input.bin',
    mediaType: 'image/png',
    bytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
  })
  t.match(await run({ upload: upload.upload }), { status: 'COMPLETED', result: { length: content.length } })
  t.match(await run({ upload: '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10' }), {
    status: 'FAILED',
    failure: { code: 'permanent', message: /there is no upload/ },
  })
  const db = await openTestDatabase(t, app.databaseUrl)
  await db.run({ name: 'test_age', text: `update taskwire.artifacts set expires_at = now()` }, [])
  await pruneOnce(db, openDiskStore(folder))
  t.same(await filesOnDisk(), [])
  t.same(await db.run({ name: 'test_artifacts', text: 'select name from taskwire.artifacts' }, []), [])
})

t.test('a report creates a page with charts and a JSON file', async (t) => {
  const end = async (body: object): Promise<Task> => {
    const headers = { 'content-type': 'application/json', prefer: 'wait=30' }
    return (await (
      await fetch(`${app.address}/api/tasks`, { method: 'POST', headers, body: JSON.stringify(body) })
    ).json()) as Task
  }
  const report = await end({ type: 'report.generate' })
  t.match(report, { status: 'COMPLETED' })
  t.same(
    (await list(report.id)).map(({ name }) => name),
    ['report.html', 'report.json'],
  )
  const page = await (await get(`/api/tasks/${report.id}/artifacts/report.html`)).text()
  t.match(page, /<svg role="img" aria-label="tasks by status"/)
  t.notMatch(page, /<script/)
  t.same(await (await get(`/api/tasks/${report.id}/artifacts/report.json`)).json(), report.result)
})
