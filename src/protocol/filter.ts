/** The filter for tasks that are listed or followed. */
import { Type, type Static } from 'typebox'
import { Status } from './status.js'
import { Instant, QueueName, TaskId, TaskType } from './task.js'

/** PostgreSQL stores no text with U+0000. */
export const NO_NUL = '^[^\\u0000]*$'
/** A tag to filter by. */
const Tag = Type.String({ minLength: 1, maxLength: 50, pattern: NO_NUL, examples: ['nightly'] })

/** A task must match every field given. `{}` matches every task. */
export const ListFilter = Type.Object(
  {
    status: Type.Optional(Status),
    type: Type.Optional(TaskType),
    tag: Type.Optional(Tag),
    queue: Type.Optional(QueueName),
    batch: Type.Optional({ ...TaskId, description: 'tasks of this batch' }),
    parent: Type.Optional({ ...TaskId, description: 'tasks created by this task' }),
    createdAfter: Type.Optional({ ...Instant, description: 'created at this time or later' }),
    createdBefore: Type.Optional({ ...Instant, examples: ['2026-11-21T00:00:00Z'], description: 'created before this time' }),
    q: Type.Optional(
      Type.String({ minLength: 1, maxLength: 200, pattern: NO_NUL, examples: ['nightly report'], description: 'text in the title, case-insensitive' }),
    ),
  },
  { additionalProperties: false },
)
export type ListFilter = Static<typeof ListFilter>
