/** One suite on both stores: a folder, and the S3 protocol. */
import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import t, { type Test } from 'tap'
import type { ArtifactStore } from '../../src/artifacts/artifact-store.js'
import { openDiskStore } from '../../src/artifacts/disk-store.js'
import { openArtifactStore } from '../../src/artifacts/open-store.js'
import { createArtifactWriter, type WrittenArtifact } from '../../src/tasks/attempt/context/artifact-writer.js'
import { startS3Server } from './s3-server.js'

process.env['AWS_ACCESS_KEY_ID'] = 'test'
process.env['AWS_SECRET_ACCESS_KEY'] = 'test'

const key = (name: string, attempt = 1) => ({ owner: '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10', attempt, name })
const signal = new AbortController().signal

async function testStore(t: Test, store: ArtifactStore, countKept: () => Promise<number>): Promise<void> {
  const content = randomBytes(12 * 1024 * 1024)
  let written: WrittenArtifact | undefined
  const writer = createArtifactWriter({
    store,
    key: key('data.bin'),
    signal,
    record: async (given) => void (written = given),
  })
  await pipeline(Readable.from([content.subarray(0, 5_000_000), content.subarray(5_000_000)]), writer)
  t.same(written, { bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') })
  t.ok((await buffer(await store.read(key('data.bin')))).equals(content))
  t.ok(
    (await buffer(await store.read(key('data.bin'), { start: 10, end: 19 }))).equals(content.subarray(10, 20)),
    'a range has both ends',
  )
  await t.rejects(store.read(key('other.bin')).then(buffer), { name: 'ArtifactMissingError' })
  await store.write(key('data.bin', 2), Readable.from([Buffer.from('second')]))
  t.equal((await buffer(await store.read(key('data.bin', 2)))).toString(), 'second')
  t.equal(await countKept(), 2, 'each attempt has its own file')
  const failing = Readable.from(
    (async function* () {
      yield Buffer.from('half')
      throw new Error('the source broke')
    })(),
  )
  await t.rejects(
    pipeline(
      failing,
      createArtifactWriter({
        store,
        key: key('half.bin'),
        signal,
        record: async () => void t.fail('a half-written file is not stored'),
      }),
    ),
    { message: 'the source broke' },
  )
  const refusing = createArtifactWriter({
    store,
    key: key('late.bin'),
    signal,
    record: () => Promise.reject(new Error('no longer current')),
  })
  await t.rejects(pipeline(Readable.from([Buffer.from('late')]), refusing), { message: 'no longer current' })
  await store.remove(key('data.bin'))
  await store.remove(key('data.bin', 2))
  await store.remove(key('data.bin', 2))
  t.equal(await countKept(), 0, 'nothing is left behind')
}

t.test('a folder', async (t) => {
  const folder = t.testdir()
  const files = async () =>
    existsSync(folder)
      ? (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).length
      : 0
  await testStore(t, await openArtifactStore(folder), files)
  await t.rejects(
    openDiskStore(join(folder, 'inner')).write(
      { owner: '../../..', attempt: 1, name: '../../../escape' },
      Readable.from(['x']),
    ),
    { message: /is not an id/ },
  )
})

t.test('S3', async (t) => {
  const { url, objects } = await startS3Server(t)
  await testStore(t, await openArtifactStore(url), async () => objects.size)
})
