/**
 * The one file that tap runs: it starts all others, several at a time, each in a separate process.
 *
 * tap loads hooks into every process that it starts, and through `NODE_OPTIONS` into their child processes. The hooks
 * serve coverage, which the tests do not need, and double the load time of our processes. This file leaves them out.
 */
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import t from 'tap'

/** A test process spends half of its time waiting: for servers, for leases, or to prove that nothing happens. */
const JOBS = availableParallelism() + 2
const FILE_TIMEOUT_MS = 900_000

const files = process.env['TEST_FILES']?.split('\n') ?? []
t.jobs = JOBS
for (const file of files) {
  const built = join(import.meta.dirname, file.replace(/\.ts$/, '.js'))
  t.spawn(
    '/usr/bin/env',
    ['-u', 'NODE_OPTIONS', process.execPath, '--enable-source-maps', built],
    { buffered: true, timeout: FILE_TIMEOUT_MS },
    join('test', file),
  )
}
