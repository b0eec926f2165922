/** The limits that more than one room uses. Those that the browser also needs are in `public/protocol.js`. */
export {
  DEFAULT_LIST_ROWS,
  HEARTBEAT_MS,
  MAX_IDS_IN_URL,
  MAX_KEY_LENGTH,
  MAX_LIST_ROWS,
  MAX_REASON_LENGTH,
  MAX_WEIGHT,
  MIN_WEIGHT,
  MAX_SELECTED_IDS,
  MAX_SILENCE_MS,
  MAX_TITLE_LENGTH,
  MAX_UNREAD_MS,
  MAX_WAIT_SECONDS,
} from '../../public/protocol.js'

/** The maximum size of the body of `POST /api/tasks`, in bytes. */
export const MAX_BODY_BYTES = 256 * 1024
/** The maximum nesting depth of a body. */
export const MAX_BODY_DEPTH = 32
/** The maximum number of tasks in a batch. */
export const MAX_BATCH_TASKS = 1_000
/** The maximum size of the body of `POST /api/tasks/batch`, in bytes. */
export const MAX_BATCH_BYTES = 4 * 1024 * 1024
/** The number of tasks in a page of `GET /api/tasks`: the maximum, and the default. */
export const MAX_PAGE_TASKS = 200
export const DEFAULT_PAGE_TASKS = 50
/** The default number of log lines in a page. */
export const DEFAULT_LOG_LINES = 200
/** The longest time from a create to the start that it asks for. */
export const MAX_DELAY_MS = 366 * 86_400_000
/** The maximum length of a cursor, in characters. */
export const MAX_CURSOR_LENGTH = 200
/** The highest priority, which runs first; 0 runs last. */
export const MAX_PRIORITY = 9
/** The maximum length of a tag, in characters, and the maximum number of tags of a task. */
export const MAX_TAG_LENGTH = 50
export const MAX_TAGS = 20
/** The maximum length of the message of a progress report, in characters. */
export const MAX_PROGRESS_MESSAGE_LENGTH = 500
/** The maximum length of a log line of a handler, in characters. */
export const MAX_LOG_TEXT_LENGTH = 2_000
