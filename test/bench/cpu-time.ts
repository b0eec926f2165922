/** Processor time. Unlike a clock, it leaves out what other programs do meanwhile, so small differences show on a busy machine too. */
import { readdir, readFile } from 'node:fs/promises'
import { findChildren } from '../helpers/services.js'

/** What these processes and their children have used so far, in ms (Linux). Processes that have ended are missing. */
export async function readCpuMs(pids: readonly number[]): Promise<number> {
  const children = await Promise.all(pids.map(findChildren))
  const times = await Promise.all([...pids, ...children.flat()].map(readProcess))
  return times.reduce((sum, time) => sum + time, 0)
}

async function readProcess(pid: number): Promise<number> {
  const folder = `/proc/${pid}/task`
  const threads = await readdir(folder).catch(() => [])
  const times = await Promise.all(
    threads.map((thread) => readFile(`${folder}/${thread}/schedstat`, 'utf8').catch(() => '0')),
  )
  // Its first field: time on a processor, in nanoseconds (kernel documentation, scheduler/sched-stats).
  return times.reduce((sum, time) => sum + Number.parseInt(time, 10), 0) / 1e6
}
