/** The minimum of free disk space: what is refused below it, what is logged, and that everything recovers by itself. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import { openDiskStore } from '../../src/artifacts/disk-store.js'
import { createEmailSend } from '../../src/handlers/email-send.js'
import { createArtifactWriter } from '../../src/tasks/attempt/context/artifact-writer.js'

import { decideSettlement, explainError } from '../../src/tasks/attempt/outcome.js'
import { createDiskFloor, DiskFullError, explainDiskError } from '../../src/artifacts/disk-floor.js'
import { runDefinition } from '../../src/testing/run-definition.js'
import { packError, unpackError } from '../../src/worker/isolation/thrown-error.js'

const MB = 1024 * 1024
const key = { owner: '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10', attempt: 1, name: 'a.bin' }

/** A disk with a given amount of free space, and the log lines about it. */
function createDisk(freeMb: number) {
  const lines: string[] = []
  const disk = { freeMb, looks: 0 }
  const log = {
    error: (_: object, text: string) => void lines.push(text),
    info: (_: object, text: string) => void lines.push(text),
  }
  const readFreeBytes = async () => {
    disk.looks += 1
    return disk.freeMb * MB
  }
  return {
    disk,
    lines,
    options: { log, readFreeBytes } as never as Pick<Parameters<typeof createDiskFloor>[0], 'log' | 'readFreeBytes'>,
  }
}

t.test('a lack of space is logged once, and its end is logged once', async (t) => {
  const { disk, lines, options } = createDisk(99)
  const floor = createDiskFloor({ minFreeMb: 100, folders: ['/files'], ...options })
  for (let turn = 0; turn < 3; turn += 1)
    await t.rejects(floor.assertRoom('/files'), {
      name: 'DiskFullError',
      message: /\/files has 99 MB free, and MIN_FREE_DISK_MB is 100/,
    })
  t.match(await floor.findLow(), [/99 MB free/])
  disk.freeMb = 101
  await t.resolves(floor.assertRoom('/files'))
  disk.freeMb = 99
  await t.rejects(floor.assertRoom('/files'))
  t.equal(lines.length, 1, 'a disk that stays close to the floor is not logged over and over')
  disk.freeMb = 200
  t.same(await floor.findLow(), [])
  t.match(lines, [/99 MB free.*Free some space/, /has space again/])
})

t.test('bytes about to be written count, and a disk of unknown size has space', async (t) => {
  const { options } = createDisk(150)
  const floor = createDiskFloor({ minFreeMb: 100, folders: [], ...options })
  await t.resolves(floor.assertRoom('/files', 50 * MB))
  await t.rejects(floor.assertRoom('/files', 51 * MB), DiskFullError)
  const real = createDiskFloor({ minFreeMb: 1_000_000_000, folders: [t.testdirName], log: options.log })
  await t.resolves(real.assertRoom(join(t.testdirName, 'nothing', 'here')))
  await t.rejects(real.assertRoom(t.testdir()), DiskFullError, 'the real disk is checked')
  await t.resolves(
    createDiskFloor({ minFreeMb: 0, folders: [], log: options.log }).assertRoom(t.testdir()),
    'without a floor it is not checked',
  )
})

t.test('a file being written when the space runs out is abandoned, and nothing of it is left', async (t) => {
  const folder = t.testdir()
  const { disk, options } = createDisk(1_000)
  const store = openDiskStore(folder, createDiskFloor({ minFreeMb: 100, folders: [], ...options }))
  const chunks = Readable.from(
    (async function* () {
      for (let count = 0; count < 8; count += 1) {
        if (count === 4) disk.freeMb = 50
        yield Buffer.alloc(MB)
      }
    })(),
  )
  await t.rejects(
    pipeline(chunks, createArtifactWriter({ store, key, record: async () => void t.fail('the file is not recorded') })),
    { name: 'DiskFullError' },
  )
  t.ok(disk.looks > 2 && disk.looks < 8, 'the lack of space was noticed during the write')
  const left = await readdir(folder, { recursive: true, withFileTypes: true })
  t.same(
    left.filter((entry) => entry.isFile()),
    [],
  )
  disk.freeMb = 1_000
  await store.write(key, Readable.from([Buffer.from('fits again')]))
  t.equal((await buffer(await store.read(key))).toString(), 'fits again')
})

t.test('an e-mail is not written to a full disk, and is tried again', async (t) => {
  const { disk, options } = createDisk(50)
  const folder = t.testdir()
  const send = createEmailSend({
    from: 'tasks@example.com',
    folder,
    floor: createDiskFloor({ minFreeMb: 100, folders: [], ...options }),
  })
  const message = { to: ['ada@example.com'], subject: 'x', text: 'x' }
  const run = await runDefinition(send, message)
  t.match(run, { status: 'RETRYING', error: { name: 'DiskFullError' } })
  t.same(await readdir(folder), [])
  disk.freeMb = 500
  t.match(await runDefinition(send, message, { after: run }), { status: 'COMPLETED' })
  t.equal((await readdir(folder)).length, 1)
})

t.test('a full disk is a failure with its own code, even across processes or when the system reports it', async (t) => {
  const system = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
  t.match(explainDiskError(system), { name: 'DiskFullError', message: /no space left/ })
  t.equal(explainDiskError('other'), 'other')
  const travelled = unpackError(packError(new DiskFullError('the disk is full')))
  const outcome = explainError(travelled, new AbortController().signal)
  const claimed = { id: key.owner, attempt: 1, failures: 0, maxAttempts: 2 }
  t.match(decideSettlement(claimed, outcome, undefined), { status: 'RETRYING', reason: 'the disk is full' })
  t.match(decideSettlement({ ...claimed, failures: 1 }, outcome, undefined), {
    status: 'FAILED',
    failure: { code: 'disk_full' },
  })
})
