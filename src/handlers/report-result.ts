/** The result of `report.generate`. */
import { Type } from 'typebox'
import { Nullable } from '../protocol/nullable.js'
import { STATUSES } from '../protocol/status.js'
import { Instant, TaskId, TaskType } from '../protocol/task.js'

export const MAX_FAILURES = 20

const Count = Type.Integer({ minimum: 0 })
const Durations = Type.Union([
  Type.Object({ p50: Type.Number(), p95: Type.Number(), max: Type.Number() }, { additionalProperties: false }),
  Type.Null(),
])
export const TypeFigures = Type.Object(
  {
    type: TaskType,
    total: Count,
    completed: Count,
    failed: Count,
    durationMs: {
      ...Durations,
      description: 'The time from start to end, of tasks that started and ended; null if there are none.',
    },
    waitMs: { ...Durations, description: 'The time from when a task could start to its start; null if none started.' },
  },
  { additionalProperties: false },
)

const FailureGroup = Type.Object(
  {
    message: Type.String({ description: 'The first 500 characters of the message.' }),
    type: TaskType,
    count: Count,
    lastAt: Nullable(Instant),
    exampleTaskId: { ...TaskId, description: 'The latest task with this failure.' },
  },
  { additionalProperties: false },
)

export const ReportResult = Type.Object(
  {
    period: Type.Object({ from: Instant, to: Instant }, { additionalProperties: false }),
    generatedAt: Instant,
    total: Count,
    byStatus: Type.Object(Object.fromEntries(STATUSES.map((status) => [status, Count])), {
      additionalProperties: false,
    }),
    byType: Type.Array(TypeFigures, { description: 'Ordered by type name.' }),
    failures: Type.Array(FailureGroup, {
      maxItems: MAX_FAILURES,
      description: 'Failed tasks by message and type, the most frequent first.',
    }),
  },
  { additionalProperties: false },
)
