/**
 * Checks the log of the release (`release-log.ts`) against what limits, pauses and sequences promise.
 *
 * An attempt counts from its release to the end of its lease. That is what limits count. What handlers note is checked
 * in addition: those whose lease has ended may run on for a moment (docs/faults.md, F10), so they are no longer counted.
 */
import type { LogEntry, LoggedLimit, LoggedMember, LoggedPause, LoggedTask } from './release-log.js'

type AttemptEntry = Extract<LogEntry, { taskId: string }>

interface SetLimit extends LoggedLimit {
  /** The id of its entry. */
  since: number
  /** Of a rate: by subject, the theoretical time of arrival (GCRA). */
  arrivals: Map<string, number>
}

interface SetPause extends LoggedPause {
  /** When a claim must see it, in milliseconds since 1970; a handler says so when its call has returned. */
  holdsFromMs: number
}

/** One line for each violation; each names a task. */
export function findReleaseViolations(log: readonly LogEntry[], tasks: readonly LoggedTask[]): string[] {
  const replay = new Replay(tasks)
  for (const entry of log) replay.add(entry)
  return replay.violations
}

class Replay {
  readonly violations: string[] = []
  readonly #tasks: Map<string, LoggedTask>
  readonly #limits = new Map<string, SetLimit>()
  readonly #pauses = new Map<string, SetPause>()
  readonly #halted = new Map<string, LoggedMember>()
  readonly #positions = new Map<string, number>()
  /** By task: the release of the attempt that is released, or was claimed since. */
  readonly #releases = new Map<string, AttemptEntry>()
  #lastRelease = { begunAtMs: -Infinity, atMs: -Infinity }
  /** The end of the release before: only one runs at a time. */
  #earlierReleaseMs = -Infinity
  /** Released and not claimed. */
  readonly #waiting = new Set<string>()
  /** By task: the attempt. */
  readonly #leased = new Map<string, number>()
  /** By task: the attempt whose handler runs. */
  readonly #running = new Map<string, number>()

  constructor(tasks: readonly LoggedTask[]) {
    this.#tasks = new Map(tasks.map((task) => [task.id, task]))
  }

  add(entry: LogEntry): void {
    switch (entry.kind) {
      case 'limit set':
        return void this.#limits.set(entry.row.name, { ...entry.row, since: entry.id, arrivals: new Map() })
      case 'limit deleted':
        return void this.#limits.delete(entry.row.name)
      case 'pause set': {
        const isOfHandler = entry.row.set_by.startsWith('task:')
        const pause = { ...entry.row, holdsFromMs: isOfHandler ? Infinity : -Infinity }
        return void this.#pauses.set(nameOfPause(entry.row), pause)
      }
      case 'pause deleted':
        return void this.#pauses.delete(nameOfPause(entry.row))
      case 'joined':
        return void this.#positions.set(entry.row.task_id, entry.row.position)
      case 'halted':
        return void this.#halted.set(entry.row.task_id, entry.row)
      case 'left':
        return void this.#halted.delete(entry.row.task_id)
      default:
        return this.#addOfAttempt(entry)
    }
  }

  #addOfAttempt(entry: AttemptEntry): void {
    const task = this.#tasks.get(entry.taskId)
    if (task === undefined) return
    switch (entry.kind) {
      case 'released':
        return this.#release(entry, task)
      case 'returned':
        this.#waiting.delete(task.id)
        return void this.#releases.delete(task.id)
      case 'undelivered':
        return void this.#waiting.delete(task.id)
      case 'leased':
        return this.#claim(entry, task)
      case 'unleased':
        this.#leased.delete(task.id)
        return void this.#running.delete(task.id)
      case 'began':
        return this.#begin(entry, task)
      case 'ended':
        if (this.#running.get(task.id) === entry.attempt) this.#running.delete(task.id)
        return
      case 'paused': {
        const pause = this.#pauses.get(nameOfPause({ kind: 'key', tenant: task.tenant, name: entry.row.name ?? '' }))
        if (pause !== undefined) pause.holdsFromMs = Math.min(pause.holdsFromMs, entry.atMs)
      }
    }
  }

  #release(entry: AttemptEntry, task: LoggedTask): void {
    if (entry.begunAtMs !== this.#lastRelease.begunAtMs) this.#earlierReleaseMs = this.#lastRelease.atMs
    this.#lastRelease = entry
    this.#releases.set(task.id, entry)
    this.#waiting.add(task.id)
    const active = [...new Set([...this.#waiting, ...this.#leased.keys()])].flatMap((id) => this.#tasks.get(id) ?? [])
    for (const limit of this.#limits.values()) {
      if (!appliesTo(limit, task)) continue
      const allowed = allowedBy(limit, entry.atMs)
      const counted = active.filter((other) => isCountedWith(limit, task, other))
      if (counted.length > allowed)
        this.#report(entry, `was released over the limit ${limit.name} of ${allowed}`, counted)
      if (limit.rate !== null) this.#takeRate(entry, task, limit)
    }
    const pause = this.#findPause(task, entry.atMs, -Infinity)
    if (pause !== undefined) this.#report(entry, `was released despite the pause of the ${nameOfPause(pause)}`)
    if (task.sequence === null) return
    const others = active.filter((other) => other.id !== task.id && isInSequenceWith(task, other))
    if (others.length > 0) this.#report(entry, `was released beside another of its sequence ${task.sequence}`, others)
    for (const halt of this.#halted.values()) this.#checkHalt(entry, task, halt)
  }

  /** A halted sequence holds what was created after the task that has halted it. */
  #checkHalt(entry: AttemptEntry, task: LoggedTask, halt: LoggedMember): void {
    const position = this.#positions.get(task.id) ?? Infinity
    if (halt.tenant === task.tenant && halt.key === task.sequence && halt.position < position)
      this.#report(entry, `was released although ${halt.task_id} has halted its sequence ${halt.key}`)
  }

  #takeRate(entry: AttemptEntry, task: LoggedTask, limit: SetLimit): void {
    const { rate, period_ms: periodMs, burst } = limit
    const intervalMs = (periodMs ?? 0) / (rate ?? 1)
    // Chosen between these times: a release marks all that it has chosen at its end.
    const earliestMs = Math.max(entry.begunAtMs, this.#earlierReleaseMs)
    const arrivalMs = Math.max(limit.arrivals.get(subjectOf(limit, task)) ?? -Infinity, earliestMs)
    // Times are stored in microseconds.
    if (arrivalMs - ((burst ?? 1) - Math.min(task.cost, burst ?? 1)) * intervalMs > entry.atMs + 0.01)
      this.#report(entry, `was released over the rate ${limit.name}`)
    limit.arrivals.set(subjectOf(limit, task), arrivalMs + task.cost * intervalMs)
  }

  #claim(entry: AttemptEntry, task: LoggedTask): void {
    this.#leased.set(task.id, entry.attempt)
    const pause = this.#findPause(task, entry.begunAtMs, entry.begunAtMs)
    if (pause !== undefined) this.#report(entry, `was claimed despite the pause of the ${nameOfPause(pause)}`)
    const isReleased = this.#releases.get(task.id)?.attempt === entry.attempt
    const limit = [...this.#limits.values()].find((one) => one.rate === null && appliesTo(one, task))
    const isGated = task.key !== null || task.sequence !== null
    if (!isReleased && (isGated || limit !== undefined))
      this.#report(
        entry,
        `was claimed without a release${limit === undefined ? '' : ` despite the limit ${limit.name}`}`,
      )
  }

  #begin(entry: AttemptEntry, task: LoggedTask): void {
    if (this.#leased.get(task.id) !== entry.attempt) return
    this.#running.set(task.id, entry.attempt)
    const running = [...this.#running.keys()].flatMap((id) => this.#tasks.get(id) ?? [])
    const releasedAt = this.#releases.get(task.id)?.id ?? -Infinity
    for (const limit of this.#limits.values()) {
      // What was released before the limit was set may start.
      if (!appliesTo(limit, task) || releasedAt < limit.since) continue
      const allowed = allowedBy(limit, entry.atMs)
      const counted = running.filter((other) => isCountedWith(limit, task, other))
      if (counted.length > allowed) this.#report(entry, `ran over the limit ${limit.name} of ${allowed}`, counted)
    }
    const others = running.filter((other) => other.id !== task.id && isInSequenceWith(task, other))
    if (others.length > 0) this.#report(entry, `ran beside another of its sequence ${task.sequence}`, others)
  }

  /** @param seenMs pauses of handlers count if they were set before */
  #findPause(task: LoggedTask, atMs: number, seenMs: number): SetPause | undefined {
    return [...this.#pauses.values()].find(
      (pause) =>
        (pause.holdsFromMs === -Infinity || pause.holdsFromMs < seenMs) &&
        (pause.until === null || Date.parse(pause.until) > atMs) &&
        (pause.kind === 'key'
          ? pause.tenant === task.tenant && pause.name === task.key
          : pause.name === task[pause.kind]),
    )
  }

  #report({ id, taskId, attempt }: AttemptEntry, what: string, others: readonly LoggedTask[] = []): void {
    const list = others.length > 0 ? `, with ${others.map((other) => other.id).join()}` : ''
    this.violations.push(`${taskId} ${what} (attempt ${attempt}, entry ${id}${list})`)
  }
}

function nameOfPause({ kind, tenant, name }: Pick<LoggedPause, 'kind' | 'tenant' | 'name'>): string {
  return `${kind} ${tenant} ${name}`
}

function appliesTo(limit: LoggedLimit, task: LoggedTask): boolean {
  return (
    (limit.types?.includes(task.type) ?? true) &&
    (limit.queue ?? task.queue) === task.queue &&
    (limit.tenant ?? task.tenant) === task.tenant &&
    (limit.per !== 'key' || task.key !== null)
  )
}

function isCountedWith(limit: LoggedLimit, task: LoggedTask, other: LoggedTask): boolean {
  return appliesTo(limit, other) && subjectOf(limit, other) === subjectOf(limit, task)
}

function subjectOf({ per }: LoggedLimit, { tenant, key }: LoggedTask): string {
  return per === 'all' ? '' : per === 'tenant' ? tenant : JSON.stringify([tenant, key])
}

/** A rate allows any number at a time. After a pause it is 1, and doubles each second. */
function allowedBy({ concurrency, ramp_since: rampSince }: LoggedLimit, atMs: number): number {
  const seconds = rampSince === null ? Infinity : Math.max(0, Math.floor((atMs - Date.parse(rampSince)) / 1_000))
  return Math.min(concurrency ?? Infinity, 2 ** seconds)
}

function isInSequenceWith(task: LoggedTask, other: LoggedTask): boolean {
  return task.sequence !== null && other.tenant === task.tenant && other.sequence === task.sequence
}

/** When a client sent the request that created a task of a sequence, and when it had the answer. */
export interface CreatedInSequence {
  id: string
  sentMs: number
  acceptedMs: number
  /** Whether its failure halts the sequence. */
  halts: boolean
}

/** One line for each task that has failed and should have halted its sequence. */
export function findMissingHalts(
  created: readonly CreatedInSequence[],
  ends: readonly { id: string; status: string }[],
  log: readonly LogEntry[],
): string[] {
  const failed = new Set(ends.filter(({ status }) => status === 'FAILED').map(({ id }) => id))
  const halted = new Set(log.flatMap((entry) => (entry.kind === 'halted' ? [entry.row.task_id] : [])))
  return created
    .filter(({ id, halts }) => halts && failed.has(id) && !halted.has(id))
    .map(({ id }) => `${id} has failed, and has not halted its sequence`)
}

/** One line for each task that has started before another of its sequence had ended which was created before it. */
export function findWrongOrder(
  created: readonly CreatedInSequence[],
  log: readonly LogEntry[],
  tasks: readonly LoggedTask[],
): string[] {
  const sequences = new Map(tasks.map(({ id, tenant, sequence }) => [id, `${tenant} ${sequence}`]))
  const first = new Map<string, number>()
  const last = new Map<string, number>()
  for (const entry of log) {
    if (entry.kind === 'leased' && !first.has(entry.taskId)) first.set(entry.taskId, entry.id)
    if (entry.kind === 'unleased') last.set(entry.taskId, entry.id)
  }
  return created.flatMap((task) => {
    const early = created.find(
      (other) =>
        other.acceptedMs < task.sentMs &&
        sequences.get(other.id) === sequences.get(task.id) &&
        (last.get(other.id) ?? -Infinity) > (first.get(task.id) ?? Infinity),
    )
    return early === undefined
      ? []
      : [`${task.id} started before ${early.id} had ended, which is before it in its sequence`]
  })
}
