/** The limits that more than one room must know. Those that the browser needs as well are in `public/protocol.js`. */
export {
  DEFAULT_LIST_ROWS,
  HEARTBEAT_MS,
  MAX_IDS_IN_URL,
  MAX_LIST_ROWS,
  MAX_SELECTED_IDS,
  MAX_SILENCE_MS,
  MAX_TITLE_LENGTH,
  MAX_UNREAD_MS,
  MAX_WAIT_SECONDS,
} from '../../public/protocol.js'

/** The longest body `POST /api/tasks` takes, in bytes. */
export const MAX_BODY_BYTES = 256 * 1024
/** How deep a body may be nested. */
export const MAX_BODY_DEPTH = 32
/** How many tasks one batch may have. */
export const MAX_BATCH_TASKS = 1_000
/** The longest body `POST /api/tasks/batch` takes, in bytes. */
export const MAX_BATCH_BYTES = 4 * 1024 * 1024
/** Tasks of a page of `GET /api/tasks`, at most, and where no limit is asked for. */
export const MAX_PAGE_TASKS = 200
export const DEFAULT_PAGE_TASKS = 50
/** Log lines of a page, where no limit is asked for. */
export const DEFAULT_LOG_LINES = 200
/** The longest cursor, in characters. */
export const MAX_CURSOR_LENGTH = 200
/** The priority that is taken first; 0 is taken last. */
export const MAX_PRIORITY = 9
/** The longest tag, in characters, and how many a task may have. */
export const MAX_TAG_LENGTH = 50
export const MAX_TAGS = 20
/** The longest message of a progress report, in characters. */
export const MAX_PROGRESS_MESSAGE_LENGTH = 500
/** The longest line that a handler logs, in characters. */
export const MAX_LOG_TEXT_LENGTH = 2_000
