/**
 * The stored tasks as one file. It is written in parts of so many tasks looked at, each recorded with the id it ends at, so that an
 * attempt after a crash goes on behind the last whole part. Memory holds a page of some megabytes, however many rows there are and however
 * large they are.
 */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Type } from 'typebox'
import { defineTask, type TaskContext } from '../definitions/definition.js'
import { PermanentFailure } from '../definitions/outcome-errors.js'
import { linkTo } from '../protocol/base-path.js'
import { FILTERS, readTaskFilter, TaskFilter } from '../protocol/filter.js'
import type { TaskId } from '../protocol/task.js'
import { BYTE_ORDER_MARK, CSV_HEADING, exportPage, exportSlice, MAX_CELL_LENGTH, readExportScope, type ExportFormat, type ExportPage } from '../store/reads/export.js'

/** How many tasks a page looks at: few at first, since nothing is known of their sizes, then twice as many as fitted, up to the most. */
const PAGE_TASKS = { first: 16, most: 1_000 }
const PAGE_BYTES = 4 * 1024 * 1024
const SLICE_LENGTH = 2 * 1024 * 1024
/** A part ends at either. */
const PART_TASKS = 100_000
const PART_BYTES = 256 * 1024 * 1024

const Payload = Type.Object(
  {
    format: Type.Optional(Type.Enum(['csv', 'ndjson'], { default: 'csv', title: 'Format', description: 'A table, or a JSON object on each line.' })),
    byteOrderMark: Type.Optional(
      Type.Boolean({ default: true, title: 'Byte order mark', description: 'Whether a CSV file begins with one: Excel then reads it as UTF-8. NDJSON never does.' }),
    ),
    ...TaskFilter.properties,
    createdBefore: Type.Optional({ ...FILTERS.createdBefore.schema, description: 'created before this time; the start of the export when left out' }),
  },
  { additionalProperties: false },
)

const Result = Type.Object({
  file: Type.String({ description: 'The name of the artifact.' }),
  download: Type.String({ description: 'Its path on this server.' }),
  rows: Type.Integer(),
  bytes: Type.Integer(),
  sha256: Type.String(),
  longCells: Type.Integer({ description: `Cells of a CSV file with more than ${MAX_CELL_LENGTH} characters; 0 for NDJSON.` }),
  note: Type.Optional(Type.String({ description: 'What a reader of the file should know.' })),
})

/** What is recorded of a part. */
interface Part {
  rows: number
  /** Missing in what an older version recorded. */
  longCells?: number
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
  checkPayload(payload) {
    const read = readTaskFilter(payload)
    return 'error' in read ? [read.error] : []
  },
  progress: Type.Object({ rows: Type.Integer({ minimum: 0, description: 'Rows written so far; done and total count the tasks looked at.' }) }),
  // It moves many bytes: in a process of its own it holds up nobody, and its memory has a bound.
  isolation: 'process',
  memoryLimitMb: 64,

  async run({ format = 'csv', byteOrderMark = true, ...given }, context) {
    const { db } = context
    const wanted = toFilter(given)
    const { until, estimatedTasks } = await context.once('scope', () => readExportScope(db, wanted))
    const filter: TaskFilter = { ...wanted, createdBefore: until }
    const parts: string[] = []
    let rows = 0
    let walked = 0
    let longCells = 0
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
      longCells += part.longCells ?? 0
      afterId = part.lastId
      isLast = afterId === null
    }
    const file = `tasks.${format}`
    // Recorded before the parts go: an attempt after that has nothing left to join.
    const whole = await context.once('file', () => joinParts(parts, file, headOf(format, byteOrderMark), context))
    for (const name of parts) await context.removeArtifact(name)
    return { file, download: linkTo(`/api/tasks/${context.taskId}/artifacts/${file}`), rows, ...whole, longCells, ...noteOf(longCells) }
  },
})

/** What `checkPayload` let through. @throws PermanentFailure when an older server did that otherwise */
function toFilter(given: TaskFilter): TaskFilter {
  const read = readTaskFilter(given)
  if ('error' in read) throw new PermanentFailure(`${read.error.pointer} ${read.error.detail}`)
  return read.filter
}

/** What the file begins with. */
function headOf(format: ExportFormat, hasByteOrderMark: boolean): { head: string; mediaType: string } {
  if (format === 'ndjson') return { head: '', mediaType: 'application/x-ndjson' }
  return { head: `${hasByteOrderMark ? BYTE_ORDER_MARK : ''}${CSV_HEADING}`, mediaType: 'text/csv; charset=utf-8' }
}

function noteOf(longCells: number): { note?: string } {
  if (longCells === 0) return {}
  return { note: `${longCells} ${longCells === 1 ? 'cell has' : 'cells have'} more than ${MAX_CELL_LENGTH} characters: Excel shows no more of a cell. Export as ndjson for programs.` }
}

async function joinParts(parts: readonly string[], file: string, { head, mediaType }: ReturnType<typeof headOf>, { artifact, readArtifact }: TaskContext): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256')
  let bytes = 0
  async function* whole() {
    if (head !== '') yield Buffer.from(head)
    for (const name of parts) yield* (await readArtifact(name)) as AsyncIterable<Buffer>
  }
  async function* measured() {
    for await (const chunk of whole()) {
      hash.update(chunk)
      bytes += chunk.length
      yield chunk
    }
  }
  await pipeline(Readable.from(measured(), { objectMode: false }), artifact(file, { mediaType }))
  return { bytes, sha256: hash.digest('hex') }
}

async function writePart(
  name: string,
  format: ExportFormat,
  filter: TaskFilter,
  afterId: TaskId | null,
  { db, tenant, artifact, signal }: TaskContext,
  onPage: (part: Pick<Part, 'walked' | 'rows'>) => void,
): Promise<Part> {
  let lastId: TaskId | null = null
  let rows = 0
  let walked = 0
  let longCells = 0
  async function* lines() {
    let limit = PAGE_TASKS.first
    let bytes = 0
    for (let after = afterId; walked < PART_TASKS && bytes < PART_BYTES; after = lastId) {
      signal.throwIfAborted()
      const page = await exportPage(db, tenant, filter, { format, afterId: after, limit, maxBytes: PAGE_BYTES })
      for await (const chunk of chunksOf(page, format, db)) {
        signal.throwIfAborted()
        bytes += chunk.length
        yield chunk
      }
      rows += page.rows
      walked += page.walked
      longCells += page.longCells
      onPage({ walked, rows })
      lastId = page.isLast ? null : page.lastId
      if (lastId === null) return
      limit = Math.min(Math.max(page.walked * 2, 2), PAGE_TASKS.most)
    }
  }
  await pipeline(Readable.from(lines(), { objectMode: false }), artifact(name))
  return { rows, walked, longCells, lastId }
}

async function* chunksOf({ lines, large }: ExportPage, format: ExportFormat, db: TaskContext['db']): AsyncGenerator<Buffer> {
  if (lines !== null) yield Buffer.from(lines)
  if (large === null) return
  for (let from = 0; from < large.length; from += SLICE_LENGTH) yield Buffer.from(await exportSlice(db, large, format, from, SLICE_LENGTH))
}
