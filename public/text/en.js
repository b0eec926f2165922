/**
 * All text of the page's program, in English, except what the client library (`client/`) says when a connection or a
 * request fails. Texts with values in them are functions. The static text of `index.html` and `playground.html` is in
 * those files.
 */

export * from './en-limits.js'
export * from './en-waiting.js'
export * from './en-workers.js'

/** Handlers may count in fractions; two digits after the point are enough. */
const { format: number } = new Intl.NumberFormat('en', { maximumFractionDigits: 2, useGrouping: false })

export const frame = {
  title: (...parts) => [...parts, 'Taskwire'].join(' · '),
  change: (title, status, reason) => `${title}: ${status}${reason ? `. ${reason}` : ''}`,
}

export const connection = {
  connecting: 'Connecting…',
  live: 'Live',
  liveAgain: 'Live again',
  quiet: (seconds) => `No data for ${seconds} s`,
  finished: 'Finished: no more updates',
  reconnecting: 'Reconnecting',
  away: 'Server unreachable, retrying',
  soon: '…',
  inSeconds: (seconds) => ` in ${seconds} s…`,
  lastNews: (age) => ` Last update ${age} ago`,
}

export const times = {
  ms: 'ms',
  second: 's',
  minute: 'min',
  hour: 'h',
  day: 'd',
  justNow: 'just now',
  ago: (duration) => `${duration} ago`,
  in: (duration) => `in ${duration}`,
  anyMoment: 'any moment now',
}

/** How a task stands, in a sentence. */
export const standing = {
  startsLater: 'Starts later',
  starts: (when) => `Starts ${when}`,
  waiting: (duration) => `Waiting for ${duration}`,
  pending: (duration) => `Waiting for a worker for ${duration}`,
  running: (duration) => `Running for ${duration}`,
  attemptFailed: (attempt, when) => `Attempt ${attempt} failed${when ? `; the next starts ${when}` : ''}`,
  cancelling: (duration) => `Asked to stop ${duration} ago`,
  completed: (duration) => `Completed in ${duration}`,
  failed: (duration) => (duration ? `Failed after ${duration}` : 'Failed before it could start'),
  cancelled: (duration) => (duration ? `Cancelled after ${duration}` : 'Cancelled before it started'),
  expired: 'Expired: it did not start before its deadline',
  whenLastHeardOf: (standing) => `${standing} as of the last update`,
}

export const list = {
  heading: 'Tasks',
  filterByStatus: 'Filter by status',
  filterByType: 'Filter by type',
  anyStatus: 'Any status',
  anyType: 'Any type',
  takeAway: (name, value) => `Remove the filter ${name}: ${value}`,
  statusCount: (status, count, isMore) => `${status} (${count}${isMore ? '+' : ''})`,
  arrived: (count) => (count === 1 ? '1 new task' : `${count} new tasks`),
  loadMore: 'Load more',
  loading: 'Loading…',
  limit: (count) => `Showing the newest ${count}. Use the filters to find older ones.`,
  empty: 'No tasks yet.',
  createFirst: 'Create the first one',
  noMatch: 'No tasks match.',
  noStatus: (status) => `${status} is not a status. Choose one from the list.`,
  showAll: 'Show all tasks',
  gone: 'no longer in this list',
  took: (duration) => `took ${duration}`,
  /** Of a title in which nothing can be seen. */
  blankTitle: (type) => `(blank title) ${type}`,
}

export const task = {
  label: 'Task',
  back: '← All tasks',
  reading: 'Loading the task…',
  malformedId: 'The id is malformed',
  checkAddress: 'Check the address: the id in it is',
  seeList: 'The list shows the tasks that exist.',
  copyId: 'Copy the id',
  history: 'History',
  details: 'Details',
  files: 'Files',
  fileHash: (sha256) => `SHA-256 ${sha256}`,
  fileSizes: ['bytes', 'KB', 'MB', 'GB'],
  payload: 'Payload',
  result: 'Result',
  code: 'Use it from your code',
  progress: 'Progress',
  noProgress: 'No progress reported yet',
  percent: (percent) => `${percent} %`,
  count: (done, total) => (total === null ? number(done) : `${number(done)} of ${number(total)}`),
  left: (duration) => `about ${duration} left`,
  failure: 'Failure',
  failureMessage: 'Failure message',
  failureNote: (code, attempt) => `code: ${code} · attempt ${attempt}`,
  attempt: (attempt) => `attempt ${attempt}`,
  created: 'created',
  after: (duration) => `+${duration}`,
}

/** The names of the details of a task. */
export const facts = {
  type: 'Type',
  version: 'Version',
  attempt: 'Attempt',
  created: 'Created',
  runs: 'Runs',
  started: 'Started',
  finished: 'Finished',
  queue: 'Queue',
  priority: 'Priority',
  expires: 'Expires',
  uniqueKey: 'Unique key',
  concurrencyKey: 'Concurrency key',
  sequenceKey: 'Sequence key',
  onFailure: 'If it fails',
  skip: 'the tasks behind it go on',
  cost: 'Cost',
  madeBy: 'Created by',
  batch: 'Batch',
  callback: 'Callback',
  tags: 'Tags',
}

export const cancel = { press: 'Cancel', question: 'Really cancel?', sending: 'Cancelling…' }

export const copy = {
  press: 'Copy',
  done: 'Copied',
  byHand: 'Press Ctrl+C',
  what: (title) => `Copy: ${title}`,
  the: (title) => `Copy the ${title.toLowerCase()}`,
}

export const create = {
  heading: 'Create a task',
  reading: 'Loading the task types…',
  notRead: (reason) => `${reason} The form appears once the task types have been loaded.`,
  submit: 'Create task',
  sending: 'Creating…',
  pressAgain: 'Press “Create task” again. Even if the first attempt reached the server, only one task is created.',
  moreAbout: 'About this type',
  type: 'Type',
  typeOption: (title, type) => `${title} (${type})`,
  title: 'Title',
  titleHelp: 'Helps people find the task.',
  titlePlaceholder: 'the type',
  delay: 'Run in (seconds)',
  delayHelp: 'Leave empty to run it immediately.',
  delayError: 'must be a number of seconds, at least 0',
  more: 'More options',
  concurrencyKey: 'Concurrency key',
  concurrencyKeyHelp: 'What limits per key count, such as a customer or an account. Keys share the workers fairly.',
  sequenceKey: 'Sequence key',
  sequenceKeyHelp: 'Tasks with the same key run one after the other, in the order of their creation.',
  cost: 'Cost',
  costHelp: 'How many starts it counts as in a limit of starts per period. Leave empty for one.',
  costError: 'must be a whole number from 1 to 1,000',
  cannotSend: 'Some fields are invalid',
  seeFields: 'Fix the marked fields.',
}

export const fields = {
  required: 'required',
  chooseOne: 'Choose one',
  none: 'None',
  default: (value) => `${value} (default)`,
  json: 'JSON',
  notNumber: 'must be a number',
  inexact: (kept) => `would be stored as ${kept}: it has too many digits`,
  inexactInJson: (number, kept) => `${number} would be stored as ${kept}: write it as a string`,
  notJson: (reason) => `is not JSON: ${reason}`,
  limitDefault: (value) => `default ${value}`,
  localTime: 'your local time',
  jsonArray: (itemType) => `a JSON array${itemType ? ` of ${itemType}s` : ''}`,
}

/** What a schema asks for, in words. */
export const schema = {
  between: (minimum, maximum) => `${minimum} to ${maximum}`,
  atLeast: (minimum) => `at least ${minimum}`,
  atMost: (maximum) => `at most ${maximum}`,
  array: (itemType) => (itemType ? `array of ${itemType}` : 'array'),
  time: 'time (ISO 8601)',
  any: 'any JSON',
}

export const types = {
  heading: 'Task types',
  title: 'Types',
  reading: 'Loading the task types…',
  notRead: (reason) => `${reason} This page keeps trying.`,
  all: '← All types',
  unknown: 'There is no such type',
  unknownName: 'There is no task type called ',
  createOne: 'Create one',
  payload: 'Payload',
  result: 'Result',
  progressData: 'Progress data',
  code: 'Use it from your code',
  noFields: 'It has no fields.',
  required: 'required',
  columns: ['Field', 'Type', 'Meaning'],
  value: 'value',
  default: (value) => `default ${value}`,
  notAlways: 'may be missing',
  queue: 'Queue',
  attempts: 'Attempts',
  attemptCount: (count) => (count === 1 ? '1 (not retried)' : `up to ${count}`),
  limits: 'Limits',
  noLimits: 'none',
  softLimit: (duration) => `asked to stop after ${duration}`,
  hardLimit: (duration) => `ended after ${duration}`,
  heartbeatLimit: (duration) => `ended after ${duration} without a heartbeat`,
  runsIn: 'Runs in',
  ownProcess: 'a separate process',
  workerProcess: 'the worker process',
  isDefault: 'Default',
  defaultMeans: 'used when a task names no type',
  createdBy: 'Created by',
  serverOnly: 'the server only',
}

/** The headings of lines to paste. */
export const snippets = {
  terminal: 'terminal',
  console: 'browser console',
  javaScript: 'JavaScript',
  typeScript: 'TypeScript',
  read: 'Read it',
  createAgain: 'Create another like it',
  watch: 'Watch it',
  watchThroughout: 'Watch it across restarts and reconnects',
  create: 'Create one',
  createAndWait: 'Create one and wait for its result',
}

export const trouble = {
  offline: 'Try again when you are back online.',
  passing: 'Try again.',
  fault: (reason) => `This page has an error: ${reason} Reload the page.`,
}

export const playground = {
  version: 'Version ',
  versions: 'Versions',
  cut: 'The connection is cut. The task keeps running.',
  nothingArrives: 'Cut: no messages arrive',
  lost: 'lost on the way',
  gap: (held, came) => `a gap: version ${held} is held, ${came} arrived. Requesting the versions between`,
  stale: 'already known: dropped',
  missed: 'missed, then filled in',
  filledIn: ' filled in',
  outcomes: {
    snapshot: 'the whole task',
    resumed: 'the position is known',
    transition: 'the next version: applied',
    progress: 'a hint',
    heartbeat: 'the connection is alive',
  },
  closed: (code) => `Closed with ${code}`,
  closedNote: (code, advice) => `Closed with ${code}: ${advice}`,
  hasEnded: 'the task has ended',
  connectAgain: 'reconnect',
  stop: 'stop',
  lose: 'Lose the next transition',
  willLose: 'The next transition will be lost',
  messageColumns: ['type', 'what', 'when'],
  codeColumns: ['code', 'means', 'do'],
}
