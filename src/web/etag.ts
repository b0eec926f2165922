/** The state of a task as an entity tag. @see RFC 9110 section 8.8.3 */
import { createHash } from 'node:crypto'
import { IDLE_STATUSES, type Status } from '../protocol/status.js'
import type { Task } from '../protocol/task.js'
import type { WaitingFor } from '../protocol/waiting.js'

const EDITABLE: ReadonlySet<Status> = new Set(IDLE_STATUSES)

/**
 * Progress changes without a new version, so it is part of the state. The editable fields are too, because processes of
 * an earlier version, which may run at the same time, edit without a new version.
 */
export function etagOf(task: Task): string {
  const { version, status, progress } = task
  if (EDITABLE.has(status)) return `"${version}-${hashEditable(task)}"`
  return progress ? `"${version}-${Date.parse(progress.at)}"` : `"${version}"`
}

/**
 * The state of a task together with why it waits, which changes without a new version. Weak, because the estimate of its
 * start moves with each reading and is left out.
 */
export function etagOfWaiting(task: Task, waitingFor: WaitingFor | null): string {
  if (waitingFor === null) return etagOf(task)
  const { code, text, until, taskIds, ahead } = waitingFor
  return `W/${etagOf(task).slice(0, -1)}${WAITING_MARK}${hash([code, text, until, taskIds, ahead])}"`
}

/** Begins the part about waiting. No other part contains it. */
const WAITING_MARK = '.'

/** Whether a list of tags, such as that of `If-Match`, names this state of the task, whatever it waited for. */
export function hasStateOf(list: string, task: Task): boolean {
  return hasEtag(list.replace(/\.[\w-]{16}"/g, '"'), etagOf(task))
}

function hashEditable({ title, payload, priority, tags, runAt, expiresAt }: Task): string {
  return hash([title, payload, priority, tags, runAt, expiresAt])
}

function hash(values: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(values)).digest('base64url').slice(0, 16)
}

/**
 * Whether a list of tags, such as that of `If-None-Match`, contains this one. The comparison is weak: proxies turn
 * strong tags into weak ones.
 */
export function hasEtag(list: string, etag: string): boolean {
  const opaque = toOpaque(etag)
  return list.split(',').some((candidate) => ['*', opaque].includes(toOpaque(candidate.trim())))
}

function toOpaque(etag: string): string {
  return etag.replace(/^W\//, '')
}
