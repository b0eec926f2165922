/** The state of a task as an entity tag. @see RFC 9110 section 8.8.3 */
import { createHash } from 'node:crypto'
import type { Status } from '../protocol/status.js'
import type { Task } from '../protocol/task.js'

/** Where a task can be edited, which makes no new version. */
const WAITING: ReadonlySet<Status> = new Set(['SCHEDULED', 'WAITING', 'PENDING', 'RETRYING'])

/** Progress and edits move without a new version, so they are part of the state. */
export function etagOf(task: Task): string {
  const { version, status, progress } = task
  if (WAITING.has(status)) return `"${version}-${hashEditable(task)}"`
  return progress ? `"${version}-${Date.parse(progress.at)}"` : `"${version}"`
}

function hashEditable({ title, payload, priority, tags, runAt, expiresAt }: Task): string {
  return createHash('sha256').update(JSON.stringify([title, payload, priority, tags, runAt, expiresAt])).digest('base64url').slice(0, 16)
}

/** Whether a list of tags, such as that of `If-None-Match`, has this one. Compared weakly: proxies make weak ones of strong ones. */
export function hasEtag(list: string, etag: string): boolean {
  return list.split(',').some((candidate) => ['*', etag].includes(candidate.trim().replace(/^W\//, '')))
}
