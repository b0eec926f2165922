/** Handlers in separate processes that behave, spin, leak and crash, in real workers. `npm test` builds them first. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import type { Upload } from '../../src/protocol/artifact.js'
import type { Task } from '../../src/protocol/task.js'
import { readLatestLogs } from '../../src/store/attempts/logs.js'
import { readTasks } from '../../src/store/reads/tasks.js'
import { copyTasks } from '../helpers/processes.js'
import { openScene } from '../helpers/scene.js'

const scene = await openScene(t, { TASKS_DIR: await copyTasks(t, 'isolated'), CANCEL_GRACE_SECONDS: '1' })
await Promise.all([scene.start('web'), scene.start('relay')])
const worker = await scene.start('worker')

const read = async (id: string) => (await readTasks(DEFAULT_PRINCIPAL, scene.db, [id]))[0]

async function end(id: string): Promise<Task | undefined> {
  await scene.ended([id])
  return read(id)
}

async function untilRunning(id: string): Promise<void> {
  while ((await read(id))?.status !== 'PROCESSING') await sleep(10)
}

/** Reads the process id that a handler writes to the file. */
async function readPid(file: string): Promise<number> {
  for (;;) {
    const pid = Number(await readFile(file, 'utf8').catch(() => 0))
    if (pid > 0) return pid
    await sleep(20)
  }
}

async function untilGone(pid: number): Promise<void> {
  try {
    while (process.kill(pid, 0)) await sleep(20)
  } catch {
    return
  }
}

t.test('every operation of the context works in a process of its own, and the process is reused', async (t) => {
  const id = await scene.create({ type: 'test.tour', title: 'a tour', payload: { fails: true } })
  const task = await end(id)
  t.match(task, {
    status: 'COMPLETED',
    attempt: 2,
    result: { value: { attempt: 1 }, fence: 2, title: 'a tour' },
    progress: { done: 1, total: 2, message: 'half' },
  })
  const result = task?.result as { pid: number; child: string }
  t.not(result.pid, worker.child.pid)
  t.match(await end(result.child), { status: 'COMPLETED', parentId: id })
  t.match(
    (await readLatestLogs(DEFAULT_PRINCIPAL, scene.db, id, 10)).map(({ line }) => line.text),
    [/^from its own process/, /^from its own process/],
  )
  const again = await end(await scene.create({ type: 'test.tour' }))
  t.equal((again?.result as { pid: number }).pid, result.pid)
})

t.test('a handler that spins is killed at its hard limit, and holds up no other', async (t) => {
  const id = await scene.create({ type: 'test.spin' })
  await untilRunning(id)
  const other = await scene.create({ payload: { steps: 3, stepMs: 10 } })
  await scene.ended([other])
  t.equal((await read(id))?.status, 'PROCESSING', 'the other task ended while this handler spun')
  const task = await end(id)
  t.match(task, { status: 'FAILED', failure: { code: 'time_limit', message: 'the run took longer than 3000 ms' } })
  t.ok(Date.parse(task?.finishedAt ?? '') - Date.parse(task?.startedAt ?? '') >= 3_000)
})

t.test('a handler that spins is killed after the grace period of a cancel', async (t) => {
  const pidFile = join(t.testdir({}), 'pid')
  const id = await scene.create({ type: 'test.spin-on', payload: { pidFile } })
  const pid = await readPid(pidFile)
  await fetch(`${scene.addresses()[0]}/api/tasks/${id}/cancel`, { method: 'POST' })
  t.match(await end(id), { status: 'CANCELLED', version: 4 })
  await untilGone(pid)
})

t.test('a leak and a crash end only their own attempt', async (t) => {
  const ids = await Promise.all([
    scene.create({ type: 'test.leak', payload: { where: 'heap' } }),
    scene.create({ type: 'test.leak', payload: { where: 'buffers' } }),
    scene.create({ type: 'test.crash' }),
  ])
  const [heap, buffers, crash] = await Promise.all(ids.map(end))
  t.match(heap, { status: 'FAILED', failure: { code: 'memory_limit', message: /64 MB/ } })
  t.match(buffers, { status: 'FAILED', failure: { code: 'memory_limit', message: /64 MB/ } })
  t.match(crash, {
    status: 'FAILED',
    failure: { code: 'process_died', message: 'the process of the handler ended (exit code 3)' },
  })
  t.equal(worker.child.exitCode, null, 'the worker lives')
  t.match(await end(await scene.create({ type: 'test.tour' })), { status: 'COMPLETED' })
})

t.test('the built-in types that have a process of their own write their files', async (t) => {
  const [address = ''] = scene.addresses()
  const image = await sharp({ create: { width: 60, height: 30, channels: 3, background: '#3867d6' } })
    .png()
    .toBuffer()
  const { upload } = (await (
    await fetch(`${address}/api/uploads`, {
      method: 'POST',
      headers: { 'content-type': 'image/png' },
      body: new Uint8Array(image),
    })
  ).json()) as Upload
  const thumbnail = await end(await scene.create({ type: 'image.thumbnail', payload: { upload, widths: [20] } }))
  t.match(thumbnail, { status: 'COMPLETED', result: { files: [{ name: 'thumbnail-20.webp', width: 20, height: 10 }] } })
  const made = await fetch(`${address}/api/tasks/${thumbnail?.id}/artifacts/thumbnail-20.webp`)
  t.match(await sharp(await made.arrayBuffer()).metadata(), { format: 'webp', width: 20, height: 10 })
  const exported = await end(
    await scene.create({ type: 'tasks.export', payload: { format: 'ndjson', type: 'test.tour' } }),
  )
  const { download, rows } = exported?.result as { download: string; rows: number }
  const lines = (await (await fetch(address + download)).text())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Task)
  t.equal(lines.length, rows)
  t.ok(lines.every(({ type, status, result }) => type === 'test.tour' && status === 'COMPLETED' && result !== null))
})

t.test('a killed worker leaves no process behind, however busy it is', async (t) => {
  const pidFile = join(t.testdir({}), 'pid')
  await scene.create({ type: 'test.spin-on', payload: { pidFile } })
  const pid = await readPid(pidFile)
  await worker.kill()
  await untilGone(pid)
})
