/** Variables of a worker. */
import { integer } from './kinds.js'
import { artifacts, definitions } from './shared.js'

const workerConcurrency = integer(1, 1000, 128, 'attempts that one worker runs at the same time')
const typeWindowSeconds = integer(
  0,
  30 * 86_400,
  3600,
  'how long a task waits for a worker that knows its type, as in a rolling deploy, before it is FAILED',
)
const cancelGraceSeconds = integer(0, 600, 5, 'how long a handler may take to end after its task was cancelled, before it is left behind')
const attemptLeaseSeconds = integer(
  3,
  3600,
  15,
  'how long an attempt is trusted without a sign of life from its worker',
)
const shutdownGraceSeconds = integer(
  0,
  600,
  10,
  'how long a stopping worker lets attempts go on before it hands them back',
)

export const worker = { workerConcurrency, typeWindowSeconds, cancelGraceSeconds, attemptLeaseSeconds, shutdownGraceSeconds, ...definitions, ...artifacts }
