/**
 * An export of large rows by real processes: more data passes through the handler's process than its memory limit, in
 * the first attempt.
 */
import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { readTasks, readTransitions } from '../../src/store/reads/tasks.js'
import { atDepth } from '../helpers/depth.js'
import { openScene } from '../helpers/scene.js'

// Allows for the full counts on a slow machine.
t.setTimeout(900_000)

/** In depth, the payloads add up to 104 MB. */
const ROWS = atDepth(100, 400)
const ROW_LENGTH = 240_000
const HUGE_LENGTH = 8_000_000
const FILTER = { createdBefore: '2026-06-01T00:00:00Z' }

const scene = await openScene(t)

/** Payloads with line breaks, quotes and two-byte letters: they grow as cells and as JSON. */
const insert = `insert into taskwire.tasks (id, type, title, status, version, attempt, payload, created_at, finished_at)
  select ('019aa3f2-7c1e-7b3a-9a55-' || lpad(to_hex(n), 12, '0'))::uuid, 'demo.sleep', 'large', 'COMPLETED', 3, 1,
    json_build_object('n', n, 'text', left(repeat(md5(n::text) || E'é"\\n', length / 35 + 1), length)), '2026-01-01', '2026-01-01'
  from (select n, case n when ${ROWS / 2} then ${HUGE_LENGTH} else ${ROW_LENGTH} end as length from generate_series(1, ${ROWS + 1}) n) sizes`
await scene.db.run({ name: 'test_fill', forceCustomPlan: true, deadlineMs: 300_000, text: insert }, [])
await Promise.all([scene.start('web'), scene.start('relay'), scene.start('worker')])

/** Reads the file line by line: its hash and size, and the lengths of the rows. */
async function download(path: string) {
  const answer = await fetch(`${scene.addresses()[0]}${path}`)
  const hash = createHash('sha256')
  async function* hashed() {
    for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) {
      hash.update(chunk)
      yield chunk
    }
  }
  const lines: string[] = []
  for await (const line of createInterface({ input: Readable.from(hashed()), crlfDelay: Infinity })) lines.push(line)
  return { sha256: hash.digest('hex'), lines }
}

for (const format of ['ndjson', 'csv'] as const) {
  t.test(
    `${ROWS} tasks of ${ROW_LENGTH} and one of ${HUGE_LENGTH} characters are exported as ${format} in the first attempt`,
    async (t) => {
      const id = await scene.create({ type: 'tasks.export', payload: { format, ...FILTER } })
      await scene.ended([id], 250_000)
      const [task] = await readTasks(DEFAULT_PRINCIPAL, scene.db, [id])
      t.match(task, { status: 'COMPLETED', attempt: 1, result: { rows: ROWS + 1 } }, task?.failure?.message ?? '')
      t.same(
        (await readTransitions(DEFAULT_PRINCIPAL, scene.db, id)).map(({ status }) => status),
        ['PENDING', 'PROCESSING', 'COMPLETED'],
      )
      const result = task?.result as { download: string; sha256: string }
      const { sha256, lines } = await download(result.download)
      t.equal(sha256, result.sha256)
      const rows = format === 'csv' ? lines.slice(1) : lines
      t.equal(rows.length, ROWS + 1)
      t.ok(
        rows.every((line, index) => line.length > (index + 1 === ROWS / 2 ? HUGE_LENGTH : ROW_LENGTH)),
        'each row is whole',
      )
      const texts = rows.map((line) =>
        format === 'csv' ? readPayload(line) : (JSON.parse(line) as { payload: Payload }).payload,
      )
      t.ok(
        texts.every(
          ({ n, text }, index) => n === index + 1 && text.length === (n === ROWS / 2 ? HUGE_LENGTH : ROW_LENGTH),
        ),
        'it has the right position',
      )
    },
  )
}

interface Payload {
  n: number
  text: string
}

/** The payload is the second last cell; the last cell is empty. */
function readPayload(line: string): Payload {
  const [, cell = ''] = /,"(\{.*\})",$/.exec(line) ?? []
  return JSON.parse(cell.replaceAll('""', '"')) as Payload
}
