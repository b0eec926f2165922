/** Turns what a client or the code says into a schedule that can be stored, or reports everything that is wrong with it. */
import type { Registry } from '../definitions/registry.js'
import type { FieldError } from '../protocol/errors.js'
import { type PutSchedule, type ScheduledTask, type ScheduleSpec } from '../protocol/schedule.js'
import type { TaskTemplate } from '../store/schedules/rows.js'
import type { NewSchedule } from '../store/schedules/write.js'
import { checkTime, NewTaskError, readNewTask } from '../tasks/create/new-task.js'
import { parseCron } from './cron.js'
import { nextSlot } from './slots.js'
import { isTimeZone } from './wall-time.js'

/** What a schedule that is set says cannot be done, field by field. */
export class ScheduleError extends Error {
  override readonly name = 'ScheduleError'

  constructor(readonly errors: readonly FieldError[]) {
    super(errors.map(({ pointer, detail }) => `${pointer} ${detail}`).join('; '))
  }
}

const DEFAULT_MAX_CATCH_UP = 100

/**
 * @param given as its schema allows
 * @throws ScheduleError
 */
export function readSchedule(
  name: string,
  given: Omit<PutSchedule, 'reason'>,
  tenant: string,
  registry: Registry,
): NewSchedule {
  const errors = [...checkTimes(given), ...checkRule(given), ...checkPolicies(given)]
  if (errors.length > 0) throw new ScheduleError(errors)
  const spec = toSpec(given)
  return { name, spec, template: makeTemplate(name, spec, tenant, registry) }
}

/** When a schedule has no slot at all any more. */
export function checkFuture(spec: ScheduleSpec, nowMs: number): FieldError[] {
  if (nextSlot(spec, nowMs) !== undefined) return []
  const limit = (['at', 'endsAt', 'startsAt'] as const).find((field) => spec[field] !== null)
  const pointer = `/${limit ?? 'cron'}`
  return [
    {
      pointer,
      detail: 'leaves no time at which the schedule would be due',
      fix: 'Choose a later time, or another rule.',
    },
  ]
}

function checkTimes({ at, anchor, startsAt, endsAt }: Omit<PutSchedule, 'reason'>): FieldError[] {
  const malformed = Object.entries({ at, anchor, startsAt, endsAt }).flatMap(([name, time]) =>
    checkTime(`/${name}`, time),
  )
  if (malformed.length > 0) return malformed
  if (startsAt === undefined || endsAt === undefined || Date.parse(startsAt) < Date.parse(endsAt)) return []
  return [{ pointer: '/endsAt', detail: 'is not after startsAt', fix: 'Choose a later end or an earlier start.' }]
}

function checkRule({ cron, everyMs, anchor, at, timeZone = 'UTC' }: Omit<PutSchedule, 'reason'>): FieldError[] {
  const rules = Object.entries({ cron, everyMs, at }).filter(([, value]) => value !== undefined)
  const [, second] = rules
  if (rules.length === 0)
    return [
      {
        pointer: '/cron',
        detail: 'is missing, and so are everyMs and at',
        fix: 'Send one of the three, such as "cron": "0 3 * * *".',
      },
    ]
  if (second !== undefined)
    return [
      {
        pointer: `/${second[0]}`,
        detail: `cannot be combined with ${rules[0]?.[0]}`,
        fix: 'Send one of the two, or set two schedules.',
      },
    ]
  const errors: FieldError[] = []
  if (cron !== undefined) errors.push(...checkCron(cron))
  if (anchor !== undefined && everyMs === undefined)
    errors.push({ pointer: '/anchor', detail: 'needs everyMs', fix: 'Leave it out.' })
  if (!isTimeZone(timeZone))
    errors.push({
      pointer: '/timeZone',
      detail: `"${timeZone}" is not a time zone`,
      fix: 'Send a name of the IANA database, such as Europe/Berlin, or UTC.',
    })
  return errors
}

const EXAMPLE =
  'Send for example "0 3 * * *" (each day at 3), "*/15 * * * *" (each quarter of an hour) or "0 8 * * 1-5".'

function checkCron(cron: string): FieldError[] {
  try {
    if (parseCron(cron).next(Date.now()) !== undefined) return []
    return [{ pointer: '/cron', detail: 'fits no date', fix: EXAMPLE }]
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error)
    return [
      {
        pointer: '/cron',
        detail: `is not a cron expression: ${said.replace(/^CronPattern: /, '').slice(0, 300)}`,
        fix: EXAMPLE,
      },
    ]
  }
}

function checkPolicies({ overlap, catchUp, maxCatchUp, gap, cron, task }: Omit<PutSchedule, 'reason'>): FieldError[] {
  const errors: FieldError[] = []
  if (maxCatchUp !== undefined && catchUp !== 'all')
    errors.push({
      pointer: '/maxCatchUp',
      detail: 'needs catchUp: all',
      fix: 'Leave it out, or send "catchUp": "all".',
    })
  if (gap !== undefined && cron === undefined)
    errors.push({ pointer: '/gap', detail: 'needs cron: other rules follow no clock', fix: 'Leave it out.' })
  if (overlap === 'queue' && task.sequenceKey !== undefined)
    errors.push({
      pointer: '/task/sequenceKey',
      detail: 'cannot be combined with overlap: queue, which is a sequence of its own',
      fix: 'Leave out one of the two.',
    })
  return errors
}

function toSpec(given: Omit<PutSchedule, 'reason'>): ScheduleSpec {
  const {
    cron = null,
    everyMs = null,
    timeZone = 'UTC',
    gap = 'run',
    task,
    overlap = 'allow',
    catchUp = 'last',
  } = given
  return {
    ...{ cron, everyMs, timeZone, gap, task, overlap, catchUp },
    ...{
      anchor: toIso(given.anchor),
      at: toIso(given.at),
      startsAt: toIso(given.startsAt),
      endsAt: toIso(given.endsAt),
    },
    maxCatchUp: given.maxCatchUp ?? DEFAULT_MAX_CATCH_UP,
    spreadMs: given.spreadMs ?? 0,
    pauseAfterFailures: given.pauseAfterFailures ?? null,
  }
}

function toIso(time: string | undefined): string | null {
  return time === undefined ? null : new Date(time).toISOString()
}

/** @throws ScheduleError if the task does not fit its type */
export function makeTemplate(name: string, spec: ScheduleSpec, tenant: string, registry: Registry): TaskTemplate {
  const { expiresAfterMs, ...body } = spec.task
  const queued: ScheduledTask =
    spec.overlap === 'queue' ? { ...body, sequenceKey: `schedule ${name}`, onFailure: 'skip' } : body
  try {
    const { type, priority, tags, payload, queue, maxAttempts, more } = readNewTask(queued, { tenant }, registry)
    const template = { type, title: body.title ?? name, priority, tags, payload, queue, maxAttempts }
    return { ...template, ...(more && { more }), ...(expiresAfterMs !== undefined && { expiresAfterMs }) }
  } catch (error) {
    if (!(error instanceof NewTaskError)) throw error
    throw new ScheduleError(error.errors.map((wrong) => ({ ...wrong, pointer: `/task${wrong.pointer}` })))
  }
}
