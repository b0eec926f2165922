/** Which stored files a walk deletes and which it never touches, on disk and in S3. */
import { mkdir, readdir, stat, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import type { ArtifactKey, ArtifactStore } from '../../src/artifacts/artifact-store.js'
import { openDiskStore } from '../../src/artifacts/disk-store.js'
import { locate } from '../../src/artifacts/location.js'
import { openS3Store } from '../../src/artifacts/s3-store.js'
import type { Database } from '../../src/db/database.js'
import { createFilePruner } from '../../src/relay/prune-files.js'
import { recordArtifactIfCurrent, reserveUploadIfRoom } from '../../src/store/artifacts.js'
import { claimAttemptsIfDue } from '../../src/store/attempts/claim.js'
import { createTaskId } from '../../src/tasks/create/task-id.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'
import { startS3Server } from './s3-server.js'

process.env['AWS_ACCESS_KEY_ID'] = 'test'
process.env['AWS_SECRET_ACCESS_KEY'] = 'test'

const HOUR_MS = 3_600_000
const log = { info: () => {} }
const db = await openTestDatabase(t, (await startPostgres(t)).url)

/** Writes files of every kind that a walk meets, and tells which of them are leftovers. */
async function writeAll(
  store: ArtifactStore,
  db: Database,
): Promise<{ kept: ArtifactKey[]; leftovers: ArtifactKey[] }> {
  const [done = '', running = ''] = await storeTasks(db, 2)
  const [claimed] = await claimAttemptsIfDue(
    db,
    [
      { taskId: done, attempt: 1 },
      { taskId: running, attempt: 1 },
    ],
    'test',
    HOUR_MS,
  )
  t.ok(claimed)
  const file = { name: 'kept.txt', mediaType: 'text/plain', bytes: 1, sha256: 'a'.repeat(64), ttlMs: HOUR_MS }
  await recordArtifactIfCurrent(db, { taskId: done, attempt: 1 }, file)
  // The run is over: only an attempt with a lease may still write.
  await db.run({ name: 'test_lease', text: 'delete from taskwire.leases where task_id = any(array[$1::text::uuid])' }, [
    done,
  ])
  const upload = createTaskId()
  await reserveUploadIfRoom(DEFAULT_PRINCIPAL, db, upload, {
    name: 'sent.bin',
    mediaType: 'text/plain',
    ttlMs: HOUR_MS,
    bytes: 0,
    maxBytes: 1e9,
  })
  const kept = [
    { owner: done, attempt: 1, name: 'kept.txt' },
    { owner: running, attempt: 1, name: 'under-way.txt' },
    // Another installation that shares the store wrote this one.
    { owner: createTaskId(), attempt: 1, name: 'foreign.txt' },
  ]
  const leftovers = [
    { owner: done, attempt: 1, name: 'never recorded.txt' },
    { owner: done, attempt: 2, name: 'kept.txt' },
    { owner: running, attempt: 7, name: 'under-way.txt' },
    { owner: upload, attempt: 0, name: 'sent.bin' },
  ]
  for (const key of [...kept, ...leftovers]) await store.write(key, Readable.from([Buffer.from('x')]))
  return { kept, leftovers }
}

async function walk(store: ArtifactStore, minAgeMs: number): Promise<void> {
  const step = createFilePruner({ db, artifacts: store, log, minAgeMs })
  while (await step());
}

async function check(t: Test, store: ArtifactStore, kept: ArtifactKey[], gone: ArtifactKey[]): Promise<void> {
  for (const key of kept)
    t.ok(await store.read(key).then((stream) => stream.destroy()), `${key.name} of attempt ${key.attempt} is kept`)
  for (const key of gone)
    await t.rejects(store.read(key), { name: 'ArtifactMissingError' }, `${key.name} of attempt ${key.attempt} is gone`)
}

t.test('on disk only old files without a row are deleted, with their folder', async (t) => {
  const folder = t.testdir()
  const store = openDiskStore(folder)
  const { kept, leftovers } = await writeAll(store, db)
  const part = (owner: string, attempt: number) =>
    join(folder, owner.slice(-2), owner, `${attempt}-${locate({ attempt, name: 'x' })}.00000000.part`)
  const [, { owner: running } = { owner: '' }] = kept
  const parts = { running: part(running, 1), late: part(running, 9), nobody: part(createTaskId(), 0) }
  for (const path of Object.values(parts)) {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, 'half')
  }
  await walk(store, HOUR_MS)
  await check(t, store, [...kept, ...leftovers], [])
  t.ok(await stat(parts.nobody), 'a young file may still be in the middle of a write')
  const old = new Date(Date.now() - 2 * HOUR_MS)
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
  for (const { parentPath, name } of files) await utimes(join(parentPath, name), old, old)
  await walk(store, HOUR_MS)
  await check(t, store, kept, leftovers)
  t.ok(await stat(parts.running), 'a file that a running attempt writes is left alone, however slow it is')
  await t.rejects(stat(parts.late), { code: 'ENOENT' })
  await t.rejects(stat(dirname(parts.nobody)), { code: 'ENOENT' }, 'its folder is deleted, too')
})

t.test('a file of an earlier version is read, kept and deleted under its name', async (t) => {
  const folder = t.testdir()
  const store = openDiskStore(folder)
  const [owner = ''] = await storeTasks(db, 1)
  await claimAttemptsIfDue(db, [{ taskId: owner, attempt: 1 }], 'test', HOUR_MS)
  await recordArtifactIfCurrent(
    db,
    { taskId: owner, attempt: 1 },
    { name: 'old.part', mediaType: 'text/plain', bytes: 1, sha256: 'a'.repeat(64), ttlMs: HOUR_MS },
  )
  await db.run({ name: 'test_lease', text: 'delete from taskwire.leases where task_id = any(array[$1::text::uuid])' }, [
    owner,
  ])
  const path = join(folder, owner.slice(-2), owner)
  await mkdir(path, { recursive: true })
  await writeFile(join(path, '1-old.part'), 'x')
  await walk(store, 0)
  await check(t, store, [{ owner, attempt: 1, name: 'old.part' }], [])
  await store.remove({ owner, attempt: 1, name: 'old.part' })
  await t.rejects(stat(path), { code: 'ENOENT' })
})

t.test('in S3 objects without a row are deleted, and unfinished multipart uploads are aborted', async (t) => {
  const { url, objects, written, uploads } = await startS3Server(t)
  const store = openS3Store(url)
  const { kept, leftovers } = await writeAll(store, db)
  const [{ owner } = { owner: '' }, { owner: running } = { owner: '' }] = kept
  const begin = (id: string, path: string, ageMs: number) =>
    uploads.set(id, { key: `/files/some/prefix/${path}`, initiatedAt: new Date(Date.now() - ageMs), parts: new Map() })
  begin('late', `${owner}/3-${'a'.repeat(40)}`, 25 * HOUR_MS)
  begin('nobody', `${createTaskId()}/0-${'a'.repeat(40)}`, 25 * HOUR_MS)
  begin('running', `${running}/1-${'a'.repeat(40)}`, 25 * HOUR_MS)
  begin('young', `${createTaskId()}/0-${'b'.repeat(40)}`, HOUR_MS)
  begin('foreign', 'something/else', 25 * HOUR_MS)
  await walk(store, HOUR_MS)
  t.equal(objects.size, kept.length + leftovers.length, 'young objects are left alone')
  for (const path of written.keys()) written.set(path, new Date(Date.now() - 2 * HOUR_MS))
  await walk(store, HOUR_MS)
  await check(t, store, kept, leftovers)
  t.same([...uploads.keys()].sort(), ['foreign', 'running', 'young'])
})
