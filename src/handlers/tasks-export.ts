/**
 * The stored tasks as a single file. It is written in parts, each with a maximum number of examined tasks and recorded
 * with the id at which it ends, so an attempt after a crash continues after the last complete part. Memory holds a page
 * of some megabytes, however many rows there are and however large they are.
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
import {
  BYTE_ORDER_MARK,
  CSV_HEADING,
  exportPage,
  exportSlice,
  MAX_CELL_LENGTH,
  readExportScope,
  type ExportFormat,
  type ExportPage,
} from '../store/reads/export.js'

/**
 * How many tasks a page examines: few at first, because their sizes are unknown, then twice the number that fitted, up
 * to the maximum.
 */
const PAGE_TASKS = { first: 16, most: 1_000 }
const PAGE_BYTES = 4 * 1024 * 1024
const SLICE_LENGTH = 2 * 1024 * 1024
/** A part ends at either limit. */
const PART_TASKS = 100_000
const PART_BYTES = 256 * 1024 * 1024

const Payload = Type.Object(
  {
    format: Type.Optional(
      Type.Enum(['csv', 'ndjson'], {
        default: 'csv',
        title: 'Format',
        description: 'A table, or one JSON object per line.',
      }),
    ),
    byteOrderMark: Type.Optional(
      Type.Boolean({
        default: true,
        title: 'Byte order mark',
        description:
          'Whether a CSV file begins with a byte order mark, so that Excel reads it as UTF-8. NDJSON never does.',
      }),
    ),
    ...TaskFilter.properties,
    createdBefore: Type.Optional({
      ...FILTERS.createdBefore.schema,
      description: 'created before this time; the start of the export if omitted',
    }),
  },
  { additionalProperties: false },
)

const Result = Type.Object({
  file: Type.String({ description: 'The name of the file.' }),
  download: Type.String({ description: 'The path of the file on this server.' }),
  rows: Type.Integer(),
  bytes: Type.Integer(),
  sha256: Type.String(),
  longCells: Type.Integer({
    description: `The number of CSV cells with more than ${MAX_CELL_LENGTH} characters; 0 for NDJSON.`,
  }),
  note: Type.Optional(Type.String({ description: 'A remark for readers of the file.' })),
})

/** The record of a part. */
interface Part {
  rows: number
  /** Missing in records of an older version. */
  longCells?: number
  /** How many tasks were examined. */
  walked: number
  /** The last of them; null if none was left. */
  lastId: TaskId | null
}

export const tasksExport = defineTask({
  type: 'tasks.export',
  title: 'Export tasks',
  description:
    'Writes the stored tasks that match a filter to a CSV or NDJSON file, in order of creation. Resumes after a crash.',
  payload: Payload,
  result: Result,
  checkPayload(payload) {
    const read = readTaskFilter(payload)
    return 'error' in read ? [read.error] : []
  },
  progress: Type.Object({
    rows: Type.Integer({ minimum: 0, description: 'Rows written so far; done and total count examined tasks.' }),
  }),
  // It moves many bytes: in a separate process it delays no other run, and its memory is limited.
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
    for (let afterId: TaskId | null = null, isLast = false; !isLast;) {
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
    // The estimate may have been too high.
    context.progress(walked, walked, undefined, { rows })
    const file = `tasks.${format}`
    // Recorded before the parts are deleted: a later attempt has nothing left to join.
    const whole = await context.once('file', () => joinParts(parts, file, headOf(format, byteOrderMark), context))
    for (const name of parts) await context.removeArtifact(name)
    return {
      file,
      download: linkTo(`/api/tasks/${context.taskId}/artifacts/${file}`),
      rows,
      ...whole,
      longCells,
      ...noteOf(longCells),
    }
  },
})

/** The filter of a payload that passed `checkPayload`. @throws PermanentFailure if an older server let another one pass */
function toFilter(given: TaskFilter): TaskFilter {
  const read = readTaskFilter(given)
  if ('error' in read) throw new PermanentFailure(`${read.error.pointer} ${read.error.detail}`)
  return read.filter
}

/** The start of the file. */
function headOf(format: ExportFormat, hasByteOrderMark: boolean): { head: string; mediaType: string } {
  if (format === 'ndjson') return { head: '', mediaType: 'application/x-ndjson' }
  return { head: `${hasByteOrderMark ? BYTE_ORDER_MARK : ''}${CSV_HEADING}`, mediaType: 'text/csv; charset=utf-8' }
}

function noteOf(longCells: number): { note?: string } {
  if (longCells === 0) return {}
  return {
    note: `${longCells} ${longCells === 1 ? 'cell has' : 'cells have'} more than ${MAX_CELL_LENGTH} characters: Excel cuts them off there. For programs, export as ndjson.`,
  }
}

async function joinParts(
  parts: readonly string[],
  file: string,
  { head, mediaType }: ReturnType<typeof headOf>,
  { artifact, readArtifact }: TaskContext,
): Promise<{ bytes: number; sha256: string }> {
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
  { db, principal, artifact, signal }: TaskContext,
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
      const page = await exportPage(principal, db, filter, { format, afterId: after, limit, maxBytes: PAGE_BYTES })
      for await (const chunk of chunksOf(page, format, { principal, db })) {
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

async function* chunksOf(
  { lines, large }: ExportPage,
  format: ExportFormat,
  { principal, db }: Pick<TaskContext, 'principal' | 'db'>,
): AsyncGenerator<Buffer> {
  if (lines !== null) yield Buffer.from(lines)
  if (large === null) return
  for (let from = 0; from < large.length; from += SLICE_LENGTH)
    yield Buffer.from(await exportSlice(principal, db, large, format, from, SLICE_LENGTH))
}
