/** Parameters and queries of the REST API. */
import { Type, type Static } from 'typebox'
import { TaskFilter } from './filter.js'
import {
  DEFAULT_LOG_LINES,
  DEFAULT_PAGE_TASKS,
  MAX_CURSOR_LENGTH,
  MAX_IDS_IN_URL,
  MAX_LIST_ROWS,
  MAX_PAGE_TASKS,
  MAX_WAIT_SECONDS,
} from './limits.js'
import { TaskId } from './task.js'

const closed = { additionalProperties: false } as const

export const TaskParams = Type.Object({ id: TaskId })
export type TaskParams = Static<typeof TaskParams>

/** A version in a URL. It stays text, because conversion would turn `1.5` into 1. */
const VersionText = Type.String({ pattern: '^[0-9]{1,9}$', examples: ['3'] })

const Cursor = (example: string, description: string) =>
  Type.Optional(Type.String({ maxLength: MAX_CURSOR_LENGTH, examples: [example], description }))

const UUID_PATTERN = '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}'
/** Versions, separated by commas. */
export const POSITIONS_PATTERN = '^[0-9]{1,9}(,[0-9]{1,9})*$'

export const StreamQuery = Type.Object(
  {
    since: Type.Optional({ ...VersionText, description: 'the last version the client holds' }),
    logs: Type.Optional(Type.Enum(['0', '1'], { description: '1: include the log lines of the handler' })),
  },
  closed,
)
export type StreamQuery = Static<typeof StreamQuery>

export const SelectionQuery = Type.Object(
  {
    ids: Type.Optional(
      Type.String({
        pattern: `^${UUID_PATTERN}(,${UUID_PATTERN}){0,${MAX_IDS_IN_URL - 1}}$`,
        description: `up to ${MAX_IDS_IN_URL} ids, separated by commas; cannot be combined with a filter, except that of a list`,
        examples: ['019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10,019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e11'],
      }),
    ),
    list: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_LIST_ROWS,
        examples: [50],
        description:
          'follow a list of this many of the newest matching tasks, instead of every single task; for streams',
      }),
    ),
    ...TaskFilter.properties,
    since: Type.Optional(
      Type.String({
        pattern: POSITIONS_PATTERN,
        examples: ['3,0'],
        description: 'with ids: the version that the client holds of each, in the order of the ids; 0 for none',
      }),
    ),
    cursor: Cursor(
      'MjAyNi0xMS0yMFQyMToyMjoyMy40NTZaIDAxOWFhM2YyLTdjMWUtN2IzYS05YTU1LTBkMWMxZjZmMWUxMCAz',
      'for the stored history: nextCursor of the previous page. With list: where its window begins',
    ),
  },
  closed,
)
export type SelectionQuery = Static<typeof SelectionQuery>

export const ReadTaskQuery = Type.Object(
  {
    wait: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: MAX_WAIT_SECONDS,
        description: 'seconds to wait for the condition; after that the task is returned as it is',
      }),
    ),
    since: Type.Optional({
      ...VersionText,
      description: 'with wait: wait until the task has a greater version; if omitted, until it has ended',
    }),
  },
  closed,
)
export type ReadTaskQuery = Static<typeof ReadTaskQuery>

export const ListTasksQuery = Type.Object(
  {
    ...TaskFilter.properties,
    fields: Type.Optional(
      Type.Enum(['payload', 'result', 'payload,result', 'result,payload'], {
        description: 'fields to include in the items; a page then holds fewer items',
      }),
    ),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_PAGE_TASKS, default: DEFAULT_PAGE_TASKS })),
    cursor: Cursor('AZqj8nweezqaVQ0cH28eEEJ6H61sxgAA', 'nextCursor of the previous page, with the same filters'),
  },
  closed,
)
export type ListTasksQuery = Static<typeof ListTasksQuery>

export const AttemptsQuery = Type.Object(
  {
    after: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1, description: 'nextAfter of the previous page' }),
    ),
  },
  closed,
)
export type AttemptsQuery = Static<typeof AttemptsQuery>

export const LogsQuery = Type.Object(
  {
    after: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: Number.MAX_SAFE_INTEGER,
        description: 'nextAfter of the previous page, or the seq of the last line held',
      }),
    ),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, default: DEFAULT_LOG_LINES })),
  },
  closed,
)
export type LogsQuery = Static<typeof LogsQuery>
