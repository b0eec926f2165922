/** The state of a task as an entity tag. @see RFC 9110 section 8.8.3 */
import { createHash } from 'node:crypto'
import { IDLE_STATUSES, type Status } from '../protocol/status.js'
import type { Task } from '../protocol/task.js'

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

function hashEditable({ title, payload, priority, tags, runAt, expiresAt }: Task): string {
  return createHash('sha256')
    .update(JSON.stringify([title, payload, priority, tags, runAt, expiresAt]))
    .digest('base64url')
    .slice(0, 16)
}

/**
 * Whether a list of tags, such as that of `If-None-Match`, contains this one. The comparison is weak: proxies turn
 * strong tags into weak ones.
 */
export function hasEtag(list: string, etag: string): boolean {
  return list.split(',').some((candidate) => ['*', etag].includes(candidate.trim().replace(/^W\//, '')))
}
