/**
 * Places where a process may die with the worst timing, for the tests of faults. `TASKWIRE_CRASH_AT=<name>` kills the
 * process when it gets there, as a power cut would: no handler runs, nothing is flushed.
 */
export const CRASH_POINTS = [
  'create:before-commit',
  'create:after-commit',
  'attempt:after-claim',
  'attempt:after-run',
  'attempt:after-settle',
  'relay:after-take',
  'relay:after-hand-over',
  'relay:after-rescue',
] as const
export type CrashPoint = (typeof CRASH_POINTS)[number]

const crashAt = process.env['TASKWIRE_CRASH_AT']

export function crashPoint(name: CrashPoint): void {
  if (crashAt === name) process.kill(process.pid, 'SIGKILL')
}
