/** An export of many rows: its worker is killed halfway, and another continues from there, with little memory. */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { readTasks, readTransitions } from '../../src/store/reads/tasks.js'
import { spawnTaskwire, type TestProcess } from '../helpers/processes.js'
import { openScene } from '../helpers/scene.js'

const ROWS = Number(process.env['EXPORT_ROWS'] ?? 1_000_000)
const MOST_MB = 192

/** The peak resident memory of the worker or the process of its handler, in MB. */
async function peakMb({ pid }: TestProcess): Promise<number> {
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ')
  const peaks = await Promise.all([String(pid), ...children].filter(Boolean).map(peakOf))
  return Math.max(...peaks)
}

async function peakOf(pid: string): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024
}

t.setTimeout(900_000)
t.test(
  `an export of ${ROWS} rows continues after its worker was killed, below ${MOST_MB} MB`,
  { skip: process.platform === 'linux' ? false : 'it reads /proc' },
  async (t) => {
    const scene = await openScene(t)
    const insert = `insert into taskwire.tasks (id, type, title, status, version, attempt, payload, result, created_at, finished_at)
    select ('019aa3f2-7c1e-7b3a-9a55-' || lpad(to_hex(n), 12, '0'))::uuid, 'demo.sleep', '=cmd ' || n, 'COMPLETED', 3, 1, '{"steps":5,"stepMs":300}', '{"steps":5}', '2026-01-01', '2026-01-01'
    from generate_series($1::bigint, $2::bigint) n`
    for (let from = 1; from <= ROWS; from += 100_000)
      await scene.db.orm.execute(
        sql.raw(insert.replace('$1', String(from)).replace('$2', String(Math.min(from + 99_999, ROWS)))),
      )
    await Promise.all([scene.start('web'), scene.start('relay')])
    const startWorker = async () => {
      const worker = spawnTaskwire(t, ['worker'], { env: scene.env })
      await worker.waitFor(/"msg":"ready"/)
      return worker
    }
    const first = await startWorker()
    const id = await scene.create({ type: 'tasks.export', payload: { createdBefore: '2026-06-01T00:00:00Z' } })
    const read = async () => (await readTasks(DEFAULT_PRINCIPAL, scene.db, [id]))[0]
    while ((await read())?.status === 'PENDING' || ((await read())?.progress?.fraction ?? 0) < 0.5) await sleep(20)
    const firstPeakMb = await peakMb(first)
    first.signal('SIGKILL')
    await first.exited
    const second = await startWorker()
    await scene.ended([id])
    const task = await read()
    t.match(task, { status: 'COMPLETED', attempt: 2, result: { file: 'tasks.csv', rows: ROWS } })
    t.match(
      (await readTransitions(DEFAULT_PRINCIPAL, scene.db, id)).map(({ status }) => status),
      ['PENDING', 'PROCESSING', 'PENDING', 'PROCESSING', 'COMPLETED'],
    )
    const peaks = [firstPeakMb, await peakMb(second)]
    t.comment(`peaks of the two workers: ${peaks.map(Math.round).join(' and ')} MB`)
    t.ok(
      peaks.every((mb) => mb < MOST_MB),
      `the workers had at most ${MOST_MB} MB`,
    )
    const { download, sha256, bytes } = task?.result as { download: string; sha256: string; bytes: number }
    const answer = await fetch(`${scene.addresses()[0]}${download}`)
    const hash = createHash('sha256')
    let lines = 0
    let size = 0
    let head = ''
    for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) {
      if (head.length < 1_000) head += Buffer.from(chunk).toString()
      hash.update(chunk)
      size += chunk.length
      for (const byte of chunk) if (byte === 10) lines += 1
    }
    t.equal(lines, ROWS + 1, 'one line per task, and the heading')
    t.equal(size, bytes)
    t.equal(hash.digest('hex'), sha256)
    t.match(head.split('\r\n')[1], /,"'=cmd 1",demo\.sleep,COMPLETED,/, 'no cell runs as a formula')
    const list = (await (await fetch(`${scene.addresses()[0]}/api/tasks/${id}/artifacts`)).json()) as {
      items: { name: string }[]
    }
    t.same(
      list.items.map(({ name }) => name),
      ['tasks.csv'],
      'no parts are left',
    )
  },
)
