/**
 * Every word that the page's program says, in English. Words with something in them are functions. What stands in `index.html` and
 * `playground.html` as it is served is there.
 */

export const frame = {
  title: (...parts) => [...parts, 'Taskwire'].join(' · '),
  change: (title, status, reason) => `${title}: ${status}${reason ? `. ${reason}` : ''}`,
}

export const connection = {
  connecting: 'Connecting…',
  live: 'Live',
  liveAgain: 'Live again',
  quiet: (seconds) => `Nothing heard for ${seconds} s`,
  finished: 'Finished: nothing more to come',
  reconnecting: 'Reconnecting',
  away: 'Server away, trying again',
  soon: '…',
  inSeconds: (seconds) => ` in ${seconds} s…`,
  lastNews: (age) => ` Last news ${age} ago`,
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
  expired: 'Expired: its time ran out before it could run',
  whenLastHeardOf: (standing) => `${standing} when last heard of`,
}

export const list = {
  heading: 'Tasks',
  filterByStatus: 'Filter by status',
  filterByType: 'Filter by type',
  anyStatus: 'Any status',
  anyType: 'Any type',
  takeAway: (name, value) => `Take away the filter ${name}: ${value}`,
  statusCount: (status, count, isMore) => `${status} (${count}${isMore ? '+' : ''})`,
  arrived: (count) => (count === 1 ? '1 new task' : `${count} new tasks`),
  loadMore: 'Load more',
  loading: 'Loading…',
  limit: (count) => `The newest ${count} are shown: the filters find older ones.`,
  empty: 'No tasks yet.',
  createFirst: 'Create the first one',
  noMatch: 'No task matches.',
  noStatus: (status) => `There is no status ${status}. Choose one of the list.`,
  showAll: 'Show all tasks',
  gone: 'no longer in this list',
  took: (duration) => `took ${duration}`,
  /** Of a title in which nothing can be seen. */
  blankTitle: (type) => `(blank title) ${type}`,
}

export const task = {
  label: 'Task',
  back: '← All tasks',
  reading: 'Reading the task…',
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
  code: 'From your own code',
  progress: 'Progress',
  noProgress: 'No progress reported yet',
  percent: (percent) => `${percent} %`,
  count: (done, total) => (total === null ? String(done) : `${done} of ${total}`),
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
  madeBy: 'Made by',
  batch: 'Batch',
  callback: 'Callback',
  tags: 'Tags',
}

export const cancel = { press: 'Cancel', question: 'Really cancel?', sending: 'Cancelling…' }

export const copy = { press: 'Copy', done: 'Copied', byHand: 'Press Ctrl+C', what: (title) => `Copy: ${title}`, the: (title) => `Copy the ${title.toLowerCase()}` }

export const create = {
  heading: 'Create a task',
  reading: 'Reading the task types…',
  notRead: (reason) => `${reason} The form appears as soon as the server says which types of task it has.`,
  submit: 'Create task',
  sending: 'Creating…',
  pressAgain: 'Press “Create task” again: whatever became of this try, one task is created.',
  moreAbout: 'More about it',
  type: 'Type',
  typeOption: (title, type) => `${title} (${type})`,
  title: 'Title',
  titleHelp: 'For people, to find it again.',
  titlePlaceholder: 'the type',
  delay: 'Run in (seconds)',
  delayHelp: 'At once when left empty.',
  delayError: 'must be a number of seconds, at least 0',
  cannotSend: 'Some fields cannot be sent',
  seeFields: 'See the marked fields.',
}

export const fields = {
  required: 'required',
  chooseOne: 'Choose one',
  none: 'None',
  default: (value) => `${value} (default)`,
  json: 'JSON',
  notNumber: 'must be a number',
  inexact: (kept) => `would become ${kept}: it has more digits than can be kept`,
  inexactInJson: (number, kept) => `${number} would become ${kept}: write it as a text`,
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
  heading: 'Types of task',
  title: 'Types',
  reading: 'Reading the task types…',
  notRead: (reason) => `${reason} This page keeps trying.`,
  all: '← All types',
  unknown: 'There is no such type',
  unknownName: 'No type of task is called ',
  createOne: 'Create one',
  payload: 'Payload',
  result: 'Result',
  progressData: 'Data of its progress',
  code: 'From your own code',
  noFields: 'It has no fields.',
  required: 'required',
  columns: ['Field', 'Type', 'Meaning'],
  value: 'value',
  default: (value) => `default ${value}`,
  notAlways: 'not always',
  queue: 'Queue',
  attempts: 'Attempts',
  attemptCount: (count) => (count === 1 ? '1: it is not tried again' : `${count} at most`),
  limits: 'Limits',
  noLimits: 'none',
  softLimit: (duration) => `asked to stop after ${duration}`,
  hardLimit: (duration) => `ended after ${duration}`,
  heartbeatLimit: (duration) => `ended after ${duration} without a sign of life`,
  runsIn: 'Runs in',
  ownProcess: 'a process of its own',
  workerProcess: 'the process of its worker',
  isDefault: 'Default',
  defaultMeans: 'the type of a task that names none',
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
  createAgain: 'Create the same again',
  watch: 'Watch it',
  watchThroughout: 'Watch it through restarts and lost connections',
  create: 'Create one',
  createAndWait: 'Create one and wait for its result',
}

export const trouble = {
  offline: 'Try again when it is connected.',
  passing: 'Try again.',
  fault: (reason) => `This page has a fault: ${reason} Reload it.`,
}

export const playground = {
  version: 'Version ',
  versions: 'Versions',
  cut: 'The line is cut. The task goes on without us.',
  nothingArrives: 'Cut. Nothing arrives now',
  lost: 'lost on the way',
  gap: (held, came) => `a gap: ${held} is held, ${came} came. Asking for what lies between`,
  stale: 'known already: dropped',
  missed: 'missed, and filled in',
  filledIn: ' filled in',
  outcomes: {
    snapshot: 'the whole task',
    resumed: 'the position is known',
    transition: 'the next version: applied',
    progress: 'a hint',
    heartbeat: 'still there',
  },
  closed: (code) => `Closed with ${code}`,
  closedNote: (code, advice) => `Closed with ${code}: ${advice}`,
  hasEnded: 'the task has ended',
  connectAgain: 'connect again',
  stop: 'stop',
  lose: 'Lose the next transition',
  willLose: 'The next transition will be lost',
  messageColumns: ['type', 'what', 'when'],
  codeColumns: ['code', 'means', 'do'],
}
