/** Processor time. Unlike a clock, it leaves out what other programs do meanwhile, so small differences show on a busy machine too. */
import { readdir, readFile } from 'node:fs/promises'
import { findChildren } from '../helpers/services.js'

/**
 * What a web process and PostgreSQL's backends for it have used so far, in ms (Linux). PostgreSQL's own processes do not
 * count: what autovacuum and checkpoints do in a round was caused in another.
 */
export async function readCpuMs(webPid: number, postgresPid: number): Promise<number> {
  const backends = []
  for (const pid of await findChildren(postgresPid)) if (await isBackend(pid)) backends.push(pid)
  const times = await Promise.all([webPid, ...backends].map(readProcessMs))
  return times.reduce((sum, time) => sum + time, 0)
}

async function isBackend(pid: number): Promise<boolean> {
  const title = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return title.startsWith('postgres: taskwire ')
}

/** What a process has used so far, in ms (Linux). */
export async function readProcessMs(pid: number): Promise<number> {
  const folder = `/proc/${pid}/task`
  const threads = await readdir(folder).catch(() => [])
  const times = await Promise.all(
    threads.map((thread) => readFile(`${folder}/${thread}/schedstat`, 'utf8').catch(() => '0')),
  )
  // Its first field: time on a processor, in nanoseconds (kernel documentation, scheduler/sched-stats).
  return times.reduce((sum, time) => sum + Number.parseInt(time, 10), 0) / 1e6
}
