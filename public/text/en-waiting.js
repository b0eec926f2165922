/** The text about a waiting task. What it waits for is said by the server. */

const units = { second: 'second', minute: 'minute', hour: 'hour', day: 'day' }
const counted = (count, unit) => `${count} ${units[unit]}${count === 1 ? '' : 's'}`

export const waiting = {
  /** In the badge beside the status. */
  badges: {
    paused: 'Paused',
    sequence_halted: 'Halted',
    no_worker_for_queue: 'No worker',
    no_worker_for_type: 'No worker',
  },
  asOfLastUpdate: (standing) => `As of the last update: ${standing}`,
  /** When the reason ends. */
  until: {
    paused: (when) => `The pause ends ${when}.`,
    rate: (when) => `The limit allows the next start ${when}.`,
  },
  untilAny: (when) => `Until then: ${when}.`,
  ahead: (count) =>
    count === 0 ? 'It is next.' : `About ${count.toLocaleString('en')} ${count === 1 ? 'task' : 'tasks'} ahead of it.`,
  startsSoon: 'It should start any moment now.',
  startsWithin: (high, unit) => `It should start within ${counted(high, unit)}.`,
  starts: (mid, unit, low, high) =>
    `Starts in about ${counted(mid, unit)}${low === high ? '' : ` (${low} to ${high})`}.`,
  /** Before the links to the tasks that hold it. */
  holders: {
    sequence: 'Waits for: ',
    sequence_halted: 'Halted by: ',
  },
  holdersAny: 'Held by: ',
  more: 'Limits and pauses',
}
