/**
 * Points at which a process may die with the worst timing, for fault tests. `TASKWIRE_CRASH_AT=<name>` kills the
 * process there as a power failure would: no handler runs, nothing is flushed.
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
  'release:after-commit',
  'schedule:before-commit',
  'schedule:after-commit',
] as const
export type CrashPoint = (typeof CRASH_POINTS)[number]

const crashAt = process.env['TASKWIRE_CRASH_AT']

export function crashPoint(name: CrashPoint): void {
  if (crashAt === name) process.kill(process.pid, 'SIGKILL')
}
