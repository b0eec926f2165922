/** A process whose parent was killed gets another parent. Its work is then of no use, so it ends. */
import { workerData } from 'node:worker_threads'

const { parentPid } = workerData as { parentPid: number }

setInterval(() => {
  if (process.ppid !== parentPid) process.kill(process.pid, 'SIGKILL')
}, 500)
