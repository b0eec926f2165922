/** A process whose parent was killed gets another one; then nobody waits for what it does. */
import { workerData } from 'node:worker_threads'

const { parentPid } = workerData as { parentPid: number }

setInterval(() => {
  if (process.ppid !== parentPid) process.kill(process.pid, 'SIGKILL')
}, 500)
