/**
 * F56: a process is killed in the middle of an upload, or of a file that a task writes. `npm test` builds the command
 * line first.
 */
import { readdir, utimes } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { openDiskStore } from '../../src/artifacts/disk-store.js'
import { createFilePruner } from '../../src/relay/prune-files.js'
import { pruneOnce } from '../../src/relay/prune.js'
import { copyTasks } from '../helpers/processes.js'
import { openScene } from '../helpers/scene.js'

const HOUR_MS = 3_600_000
const log = { info: () => {} }

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
}

/** Makes the files look untouched for two hours. */
async function age(paths: readonly string[]): Promise<void> {
  const old = new Date(Date.now() - 2 * HOUR_MS)
  for (const path of paths) await utimes(path, old, old)
}

t.test(
  'the relay deletes leftovers of a killed upload and a killed worker, and the task still completes',
  async (t) => {
    const folder = t.testdir()
    const scene = await openScene(t, { ARTIFACTS_DIR: folder, TASKS_DIR: await copyTasks(t, 'outcomes') })
    const web = await scene.start('web')
    const worker = await scene.start('worker')
    const clean = createFilePruner({ db: scene.db, artifacts: openDiskStore(folder), log })
    const walk = async () => {
      while (await clean());
    }

    const sent = request(`${web.address}/api/uploads?name=half.bin`, {
      method: 'POST',
      headers: { 'content-length': '1000000' },
    })
    sent.on('error', () => {})
    sent.write(Buffer.alloc(100_000))
    const id = await scene.create({ type: 'test.slow-file' })
    while ((await filesIn(folder)).length < 2) await sleep(20)
    await Promise.all([web.kill(), worker.kill()])
    const left = await filesIn(folder)
    t.equal(left.length, 2)
    for (const path of left) t.match(path, /\.part$/)

    await walk()
    t.same(await filesIn(folder), left, 'a young file may still be in the middle of a write')
    await age(left)
    // The killed worker's lease may still hold, and until it runs out, the file counts as being written.
    await scene.start('relay')
    await scene.start('worker')
    await scene.ended([id])
    await walk()
    const [file = '', ...others] = await filesIn(folder)
    t.match(file, new RegExp(`${id}/\\d+-[0-9a-f]{40}$`))
    t.same(others, [])

    const rows = await scene.db.run<{ name: string }>(
      { name: 'test_rows', text: `select name from taskwire.artifacts order by name` },
      [],
    )
    t.same(
      rows.map(({ name }) => name),
      ['half.bin', 'slow.txt'],
      'the upload has a row from the start',
    )
    await scene.db.run(
      { name: 'test_expire', text: `update taskwire.artifacts set expires_at = now() where name = 'half.bin'` },
      [],
    )
    await pruneOnce(scene.db, openDiskStore(folder))
    t.same(await scene.db.run({ name: 'test_rows', text: `select name from taskwire.artifacts order by name` }, []), [
      { name: 'slow.txt' },
    ])
  },
)

t.test('an upload whose client goes away leaves neither a file nor a row', async (t) => {
  const folder = t.testdir()
  const scene = await openScene(t, { ARTIFACTS_DIR: folder })
  const web = await scene.start('web')
  const sent = request(`${web.address}/api/uploads`, { method: 'POST', headers: { 'content-length': '1000000' } })
  sent.on('error', () => {})
  sent.write(Buffer.alloc(100_000))
  while ((await filesIn(folder)).length < 1) await sleep(20)
  sent.destroy()
  while ((await filesIn(folder)).length > 0) await sleep(20)
  while ((await scene.db.run({ name: 'test_rows', text: 'select name from taskwire.artifacts' }, [])).length > 0)
    await sleep(20)
  t.equal((await fetch(`${web.address}/healthz`)).status, 200)
})
