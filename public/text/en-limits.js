/** The text of the page "Limits and pauses". */

/** The kind of a pause, in front of its name. */
const KINDS = { type: 'type', queue: 'queue', key: 'concurrency key', tenant: 'tenant' }
const tasks = (count) => (count === 1 ? '1 task' : `${count} tasks`)

export const limits = {
  heading: 'Limits and pauses',
  title: 'Limits',
  reading: 'Loading the limits and pauses…',
  notRead: (reason) => `${reason} This page keeps trying.`,
  notListed: 'This server does not list limits and pauses. Update it to see them here.',
  lastUpdate: (age) => `Last update ${age} ago.`,
  blank: '(blank)',
  noReason: 'No reason given.',
  reason: 'Reason',
  leave: 'Close without saving',
  unsendableName: 'cannot be one or two dots',
  isEmpty: 'is empty: enter a name',
}

export const holds = {
  oldPause: (what, age) => `The ${what} has been paused for ${age}.`,
  oldPauses: (names) => `These pauses are older than a day: ${names.join(', ')}.`,
  resumePause: 'Resume it if the pause is no longer needed.',
  resumePauses: 'Resume those that are no longer needed.',
  halted: (key) => `The sequence ${key} is halted: one of its tasks failed or expired, and those behind it wait.`,
  haltedMany: (count) => `${count} sequences are halted: in each, a task failed or expired, and those behind it wait.`,
  resumeSequence: 'See why the task failed or expired, then resume the sequence below.',
  resumeSequences: 'See why the tasks failed or expired, then resume the sequences below.',
}

export const pauses = {
  heading: 'Pauses',
  none: 'Nothing is paused.',
  what: (kind, name) => `${KINDS[kind] ?? kind} ${name}`,
  kinds: { type: 'Type', queue: 'Queue', key: 'Concurrency key', tenant: 'Tenant' },
  setBy: 'Paused by ',
  ends: 'ends ',
  endless: 'until it is resumed',
  resume: 'Resume',
  resumeWhat: (what) => `Resume the ${what}`,
  resuming: 'Resuming…',
  resumed: (what) => `Resumed: the ${what}`,
  paused: (what) => `Paused: the ${what}`,
  open: 'Pause something',
  submit: 'Pause it',
  sending: 'Pausing…',
  leave: 'Close without pausing',
  kind: 'What',
  kindHelp: 'None of its tasks starts. Running tasks finish.',
  name: 'Name',
  reasonHelp: 'Optional. Shown here and on the page of each waiting task.',
  until: 'Until',
  untilHelp: 'Optional, in your local time. If empty, it stays paused until it is resumed.',
  notTime: 'is not a complete date and time',
  isPast: 'must be later than now',
}

export const limitList = {
  heading: 'Limits',
  none: 'No limits are set.',
  atATime: (count) => `At most ${count} at a time`,
  perPeriod: (count, period) => `At most ${count === 1 ? '1 start' : `${count} starts`} ${period}`,
  burst: (count) => `, up to ${count} at once after a quiet time`,
  skips: 'Tasks over it are cancelled.',
  allTasks: 'All tasks',
  ofTypes: (types) => (types.length === 1 ? `of the type ${types[0]}` : `of the types ${types.join(', ')}`),
  inQueue: (queue) => `in the queue ${queue}`,
  ofTenant: (tenant) => `of the tenant ${tenant}`,
  tasks: 'Tasks',
  per: { all: '', tenant: ', counted for each tenant', key: ', counted for each concurrency key' },
  running: (running, count) => `${running} of ${count} running`,
  left: (left) => (left === 0 ? 'none can start now' : `${left} can start now`),
  unused: 'No task counts against it now.',
  moreUses: (count) => `and ${count} more`,
  keyOfTenant: (key, tenant) => `${key} (tenant ${tenant})`,
  setBy: 'Set by ',
  setInCode: 'Set by the code of a type ',
  setByResume: 'After a pause tasks start slowly; this limit ends by itself. Set ',
  edit: 'Edit',
  editName: (name) => `Edit the limit ${name}`,
  remove: 'Delete',
  removeName: (name) => `Delete the limit ${name}`,
  removeQuestion: 'Really delete?',
  removeNameQuestion: (name) => `Really delete the limit ${name}?`,
  removing: 'Deleting…',
  removed: (name) => `Deleted: the limit ${name}`,
  changed: (name) => `Changed: the limit ${name}`,
  added: (name) => `Added: the limit ${name}`,
}

export const limitForm = {
  open: 'Add a limit',
  submit: 'Add it',
  sending: 'Saving…',
  leave: 'Close without adding',
  save: 'Save',
  name: 'Name',
  nameHelp: 'Lower-case letters, digits, dots, hyphens and underscores, such as smtp.',
  malformedName:
    'must begin with a lower-case letter or a digit, and contain only those, dots, hyphens and underscores',
  isTaken: 'is already the name of a limit: choose another, or edit that limit',
  amount: 'Limits',
  amounts: { concurrency: 'Attempts at a time', rate: 'Starts per period' },
  count: { concurrency: 'At a time', rate: 'Starts' },
  countHelp: { concurrency: 'Over all workers.', rate: 'Spread evenly over the period.' },
  period: 'Period',
  unit: 'Unit of the period',
  units: [
    ['seconds', 1_000],
    ['minutes', 60_000],
    ['hours', 3_600_000],
    ['days', 86_400_000],
  ],
  notCount: 'must be a whole number, at least 1',
  notPeriod: 'must be a number above 0',
  types: 'Types',
  typesHelp: 'One, or several with commas between them. Empty for all types.',
  queue: 'Queue',
  queueHelp: 'Empty for all queues.',
  per: 'Counted',
  pers: { all: 'All tasks together', key: 'For each concurrency key', tenant: 'For each tenant' },
  reasonHelp: 'Optional. Shown here.',
}

/** The period of a rate: `per minute`, `per 15 minutes`, `per 90 s`. */
export const periods = {
  one: (unit) => `per ${unit}`,
  many: (count, unit) => `per ${count} ${unit}s`,
  units: [
    ['day', 86_400_000],
    ['hour', 3_600_000],
    ['minute', 60_000],
    ['second', 1_000],
  ],
  ms: (ms) => `per ${ms} ms`,
}

export const weights = {
  heading: 'Weights',
  none: 'All tenants, and all keys of a tenant, get equal shares.',
  kinds: { key: 'Concurrency key', tenant: 'Tenant' },
  share: (weight) => `${weight} times the share`,
  than: {
    key: 'of a concurrency key without a weight, while both have tasks that wait.',
    tenant: 'of a tenant without a weight, while both have tasks that wait.',
  },
  setBy: 'Set by ',
  remove: 'Remove',
  removeWhat: (what) => `Remove the weight of the ${what}`,
  removing: 'Removing…',
  removed: (what) => `Removed: the weight of the ${what}`,
  set: (what) => `Set: the weight of the ${what}`,
  open: 'Set a weight',
  submit: 'Set it',
  sending: 'Saving…',
  leave: 'Close without setting',
  kind: 'Of a',
  name: 'Name',
  weight: 'Weight',
  weightHelp: 'From 0.01 to 1,000. One without a weight has 1. A weight set before is replaced.',
  notWeight: 'must be a number from 0.01 to 1,000',
  reasonHelp: 'Optional. Shown here.',
}

/** Of every list on the page. */
export const entries = {
  shown: (shown, count) => `${shown} of ${count} are shown.`,
  more: 'Show more',
  moreOf: (heading) => `Show more: ${heading}`,
}

export const sequences = {
  heading: 'Halted sequences',
  haltedBy: 'Halted by the task ',
  waiting: (count) =>
    count === 0 ? 'No task waits behind it.' : `${tasks(count)} behind it ${count === 1 ? 'waits' : 'wait'}.`,
  resume: 'Resume',
  resumeKey: (key) => `Resume the sequence ${key}`,
  resuming: 'Resuming…',
  resumed: (key) => `Resumed: the sequence ${key}`,
}
