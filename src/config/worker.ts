/** Variables of a worker. */
import { integer } from './kinds.js'
import { artifacts, claimWindowSeconds, definitions } from './shared.js'

const workerConcurrency = integer(1, 1000, 128, 'the most attempts that one worker runs at the same time')
const typeWindowSeconds = integer(
  0,
  30 * 86_400,
  3600,
  'how long a task waits for a worker that knows its type, e.g. during a rolling deploy, before it is FAILED',
)
const cancelGraceSeconds = integer(
  0,
  600,
  5,
  'how long a handler may take to stop after its task was cancelled, before it is abandoned',
)
const quarantineSeconds = integer(
  0,
  30 * 86_400,
  3600,
  'how long the tasks of a type run in processes of their own after one of them ended its process; 0 for never',
)
const attemptLeaseSeconds = integer(3, 3600, 15, 'how long an attempt is trusted without a heartbeat from its worker')
const shutdownGraceSeconds = integer(0, 600, 10, 'how long a stopping worker lets attempts run before it releases them')

export const worker = {
  workerConcurrency,
  typeWindowSeconds,
  cancelGraceSeconds,
  quarantineSeconds,
  attemptLeaseSeconds,
  claimWindowSeconds,
  shutdownGraceSeconds,
  ...definitions,
  ...artifacts,
}
