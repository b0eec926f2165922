/** The limit on all uploads together, whether or not a task uses them. */
import { Readable } from 'node:stream'
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { readArtifacts } from '../../src/store/artifacts.js'
import { startApp } from '../helpers/app.js'
import { openTestDatabase } from '../helpers/database.js'

t.setTimeout(120_000)
const LIMIT_MB = 600
const { address, databaseUrl } = await startApp(t, [], { MAX_UPLOADS_MB: String(LIMIT_MB) })
const db = await openTestDatabase(t, databaseUrl)
const run = (text: string) => db.run({ name: 'test_uploads', forceCustomPlan: true, text }, [])

const send = (body: string | Readable) =>
  fetch(`${address}/api/uploads?name=a.bin`, {
    method: 'POST',
    body: body as string,
    headers: { 'content-type': 'application/octet-stream' },
    ...({ duplex: 'half' } as object),
  })

/** Stores uploads of clients that have disconnected, up to `leftBytes` below the limit. */
async function fill(leftBytes: number, count = 1, expires = '23 hours'): Promise<void> {
  await run('delete from taskwire.artifacts')
  await run(`insert into taskwire.artifacts (task_id, tenant, name, attempt, media_type, bytes, sha256, expires_at)
    select gen_random_uuid(), 'default', 'old.bin', 0, 'text/plain', ${LIMIT_MB * 1e6 - leftBytes} / ${count}, 'a digest', now() + interval '${expires}' from generate_series(1, ${count})`)
}

t.test(
  'an upload beyond the limit of all uploads is refused before it is stored, and one within it is accepted',
  async (t) => {
    await fill(5)
    const refused = await send('123456')
    t.equal(refused.status, 507)
    t.match(await refused.json(), { code: 'uploads_full', detail: /600 MB/, fix: /MAX_UPLOADS_MB/ })
    const taken = await send('12345')
    t.equal(taken.status, 201)
    const { upload } = (await taken.json()) as { upload: string }
    t.match(await readArtifacts(DEFAULT_PRINCIPAL, db, upload), [{ bytes: 5 }])
    t.equal((await send('1')).status, 507, 'the accepted upload counts, too')
  },
)

t.test('an upload of unknown length is counted with the maximum size, and then with its actual size', async (t) => {
  const chunks = () => Readable.from([Buffer.from('123')])
  await fill(100_000_000)
  t.equal((await send(chunks())).status, 507)
  await fill(300_000_000)
  t.equal((await send(chunks())).status, 201)
  const [row] = await db.run<{ bytes: number }>(
    { name: 'test_sum', text: 'select sum(bytes)::float8 as bytes from taskwire.artifacts' },
    [],
  )
  t.equal(row?.bytes, 300_000_003)
})

t.test(
  'too many small uploads are refused too; once they are removed there is room, and files of tasks do not count',
  async (t) => {
    await fill(LIMIT_MB * 1e6, 100_000)
    t.equal((await send('1')).status, 507)
    await run(`update taskwire.artifacts set attempt = 1, bytes = ${LIMIT_MB * 1e6}`)
    t.equal((await send('1')).status, 201, 'files that tasks have written are not uploads')
  },
)
