/**
 * The stored tasks as one file. It is written in parts of so many tasks looked at, each recorded with the id it ends at, so that an
 * attempt after a crash goes on behind the last whole part. Memory holds a page of rows, however many there are.
 */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Type } from 'typebox'
import { linkTo } from '../protocol/base-path.js'
import { Status } from '../protocol/status.js'
import { Instant, TaskType, type TaskId } from '../protocol/task.js'
import { defineTask, type TaskContext } from '../tasks/definition.js'
import { CSV_HEADING, exportPage, readExportScope, type ExportFilter, type ExportFormat } from '../tasks/store/index.js'

const PAGE_TASKS = 1_000
const PART_TASKS = 100_000

const Payload = Type.Object(
  {
    format: Type.Optional(Type.Enum(['csv', 'ndjson'], { default: 'csv', title: 'Format', description: 'A table, or a JSON object on each line.' })),
    status: Type.Optional({ ...Status, title: 'Status', description: 'Only tasks that stand there.' }),
    type: Type.Optional({ ...TaskType, title: 'Type', description: 'Only tasks of this type.' }),
    tag: Type.Optional(Type.String({ minLength: 1, maxLength: 50, title: 'Tag', description: 'Only tasks with this tag.' })),
    createdAfter: Type.Optional({ ...Instant, title: 'Created after', description: 'Only tasks created at this time or later.' }),
    createdBefore: Type.Optional({ ...Instant, title: 'Created before', description: 'Only tasks created before; the start of the export when left out.' }),
  },
  { additionalProperties: false },
)

const Result = Type.Object({
  file: Type.String({ description: 'The name of the artifact.' }),
  download: Type.String({ description: 'Its path on this server.' }),
  rows: Type.Integer(),
  bytes: Type.Integer(),
  sha256: Type.String(),
})

/** What is recorded of a part. */
interface Part {
  rows: number
  /** How many tasks were looked at. */
  walked: number
  /** The last of them; null when there was none left. */
  lastId: TaskId | null
}

export const tasksExport = defineTask({
  type: 'tasks.export',
  title: 'Export tasks',
  description: 'Writes the stored tasks to a CSV or NDJSON file, by filter, in the order of their creation. Goes on where it was after a crash.',
  payload: Payload,
  result: Result,
  progress: Type.Object({ rows: Type.Integer({ minimum: 0, description: 'Rows written so far; done and total count the tasks looked at.' }) }),
  // It moves many bytes: in a process of its own it holds up nobody, and its memory has a bound.
  isolation: 'process',
  memoryLimitMb: 64,

  async run({ format = 'csv', ...wanted }, context) {
    const { db } = context
    const { until, estimatedTasks } = await context.once('scope', () => readExportScope(db, wanted))
    const filter: ExportFilter = { ...wanted, createdBefore: until }
    const parts: string[] = []
    let rows = 0
    let walked = 0
    for (let afterId: TaskId | null = null, isLast = false; !isLast; ) {
      const name = `part-${String(parts.length + 1).padStart(5, '0')}`
      const [startId, before] = [afterId, { walked, rows }]
      const report = (part: Pick<Part, 'walked' | 'rows'>) => {
        const done = before.walked + part.walked
        context.progress(done, Math.max(estimatedTasks, done), undefined, { rows: before.rows + part.rows })
      }
      const part: Part = await context.once(name, () => writePart(name, format, filter, startId, context, report))
      parts.push(name)
      rows += part.rows
      walked += part.walked
      afterId = part.lastId
      isLast = afterId === null
    }
    const file = `tasks.${format}`
    // Recorded before the parts go: an attempt after that has nothing left to join.
    const whole = await context.once('file', () => joinParts(parts, file, format, context))
    for (const name of parts) await context.removeArtifact(name)
    return { file, download: linkTo(`/api/tasks/${context.taskId}/artifacts/${file}`), rows, ...whole }
  },
})

async function joinParts(parts: readonly string[], file: string, format: ExportFormat, { artifact, readArtifact }: TaskContext): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256')
  let bytes = 0
  async function* whole() {
    if (format === 'csv') yield Buffer.from(CSV_HEADING)
    for (const name of parts) yield* (await readArtifact(name)) as AsyncIterable<Buffer>
  }
  async function* measured() {
    for await (const chunk of whole()) {
      hash.update(chunk)
      bytes += chunk.length
      yield chunk
    }
  }
  await pipeline(Readable.from(measured(), { objectMode: false }), artifact(file, { mediaType: format === 'csv' ? 'text/csv; charset=utf-8' : 'application/x-ndjson' }))
  return { bytes, sha256: hash.digest('hex') }
}

async function writePart(
  name: string,
  format: ExportFormat,
  filter: ExportFilter,
  afterId: TaskId | null,
  { db, tenant, artifact, signal }: TaskContext,
  onPage: (part: Pick<Part, 'walked' | 'rows'>) => void,
): Promise<Part> {
  let lastId: TaskId | null = null
  let rows = 0
  let walked = 0
  async function* lines() {
    for (let after = afterId; walked < PART_TASKS; after = lastId) {
      signal.throwIfAborted()
      const page = await exportPage(db, tenant, filter, format, after, PAGE_TASKS)
      if (page.lines !== null) yield Buffer.from(page.lines)
      rows += page.rows
      walked += page.walked
      onPage({ walked, rows })
      lastId = page.walked === PAGE_TASKS ? page.lastId : null
      if (lastId === null) return
    }
  }
  await pipeline(Readable.from(lines(), { objectMode: false }), artifact(name))
  return { rows, walked, lastId }
}
