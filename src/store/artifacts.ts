/** Records of artifacts. A row is written once all bytes are stored, and only by the current attempt of its task. */
import type { Principal } from '../access/principal.js'
import type { KnownOwner } from '../artifacts/artifact-store.js'
import type { Database, Statement } from '../db/database.js'
import { inStatuses } from '../db/status-sql.js'
import type { Artifact } from '../protocol/artifact.js'
import { RUNNING_STATUSES } from '../protocol/status.js'
import type { TaskId } from '../protocol/task.js'
import type { AttemptRef } from './attempts/claim.js'

/** Stored instead of a digest while the bytes of an upload are incomplete. */
const UNFINISHED = ''

export interface StoredArtifact extends Omit<Artifact, 'createdAt' | 'links'> {
  /** The task that produced it, or the upload itself. */
  owner: TaskId
  attempt: number
  createdAt: Date
}

const COLUMNS =
  'a.task_id as owner, a.name, a.attempt, a.media_type as "mediaType", a.bytes::float8 as bytes, a.sha256, a.created_at as "createdAt"'

const RECORD_ARTIFACT: Statement = {
  name: 'record_artifact',
  // When a file of this name exists, its attempt is returned, because its bytes can be deleted.
  text: `
with current as (
  select t.id, t.tenant from taskwire.tasks t
  where t.id = any(array[$1::text::uuid]) and t.attempt = $2::text::integer and t.status ${inStatuses(RUNNING_STATUSES)} for share of t
), before as (
  select a.attempt from taskwire.artifacts a, current where a.task_id = any(array[$1::text::uuid]) and a.name = $3
), recorded as (
  insert into taskwire.artifacts as a (task_id, tenant, name, attempt, media_type, bytes, sha256, expires_at)
  select id, tenant, $3, $2::text::integer, $4, $5::text::bigint, $6, now() + $7::double precision * interval '1 ms' from current
  on conflict (task_id, name) do update set attempt = excluded.attempt, media_type = excluded.media_type, bytes = excluded.bytes,
    sha256 = excluded.sha256, created_at = now(), expires_at = excluded.expires_at
  returning 1
)
select (select count(*) from recorded)::integer as recorded, (select attempt from before) as "replacedAttempt"`,
}

export interface NewArtifact {
  name: string
  mediaType: string
  bytes: number
  sha256: string
  /** How long the file is kept. */
  ttlMs: number
}

/**
 * Undefined: the attempt is no longer current, so its bytes can be deleted. Otherwise the attempt whose bytes were
 * replaced.
 */
export async function recordArtifactIfCurrent(
  db: Database,
  { taskId, attempt }: AttemptRef,
  { name, mediaType, bytes, sha256, ttlMs }: NewArtifact,
): Promise<{ replacedAttempt: number | null } | undefined> {
  const [row] = await db.run<{ recorded: number; replacedAttempt: number | null }>(RECORD_ARTIFACT, [
    taskId,
    String(attempt),
    ...[name, mediaType, String(bytes), sha256, ttlMs],
  ])
  return row?.recorded === 1 ? { replacedAttempt: row.replacedAttempt } : undefined
}

/** Maximum number of kept uploads: each costs a row and a file, however small it is. */
export const MAX_UPLOADS = 100_000

const RESERVE_UPLOAD: Statement = {
  name: 'reserve_upload',
  // Uploads have no attempt and expire soon: in the index on expiry, few other files precede them.
  text: `
insert into taskwire.artifacts (task_id, tenant, name, attempt, media_type, bytes, sha256, expires_at)
select $1::text::uuid, $2, $3, 0, $4, $6::text::bigint, '${UNFINISHED}', now() + $5::double precision * interval '1 ms'
from (
  select count(*) as uploads, coalesce(sum(a.bytes), 0) as bytes from taskwire.artifacts a
  where a.expires_at <= now() + $5::double precision * interval '1 ms' and a.attempt = 0
) kept where kept.uploads < ${MAX_UPLOADS} and kept.bytes + $6::text::bigint <= $7::text::bigint
returning 1`,
}

export interface UploadReservation extends Omit<NewArtifact, 'sha256'> {
  /** The most bytes that all uploads may take together, the announced bytes of this one included. */
  maxBytes: number
}

/**
 * Reserves an upload before its bytes are stored, so that they are known even if this process dies. `bytes` is the
 * announced size, or the most that the client may send. False: the uploads have reached their limit, and nothing was
 * reserved.
 */
export async function reserveUploadIfRoom(
  { tenant }: Principal,
  db: Database,
  id: TaskId,
  { name, mediaType, ttlMs, bytes, maxBytes }: UploadReservation,
): Promise<boolean> {
  return (
    (await db.run(RESERVE_UPLOAD, [id, tenant, name, mediaType, ttlMs, String(bytes), String(maxBytes)])).length === 1
  )
}

const FINISH_UPLOAD: Statement = {
  name: 'finish_upload',
  text: `
update taskwire.artifacts set bytes = $2::text::bigint, sha256 = $3, created_at = now(), expires_at = now() + $4::double precision * interval '1 ms'
where task_id = any(array[$1::text::uuid]) and tenant = $5 and sha256 = '${UNFINISHED}'
returning 1`,
}

/**
 * Records a complete upload, so that tasks can use it. False: the reservation expired, and the bytes have no record any
 * more.
 */
export async function finishUploadIfReserved(
  { tenant }: Principal,
  db: Database,
  id: TaskId,
  { bytes, sha256, ttlMs }: Pick<NewArtifact, 'bytes' | 'sha256' | 'ttlMs'>,
): Promise<boolean> {
  return (await db.run(FINISH_UPLOAD, [id, String(bytes), sha256, ttlMs, tenant])).length === 1
}

const FORGET_UPLOAD: Statement = {
  name: 'forget_upload',
  text: `delete from taskwire.artifacts where task_id = any(array[$1::text::uuid]) and tenant = $2 and sha256 = '${UNFINISHED}'`,
}

/** Removes the record of an interrupted upload, after its bytes were deleted. */
export async function forgetUnfinishedUpload({ tenant }: Principal, db: Database, id: TaskId): Promise<void> {
  await db.run(FORGET_UPLOAD, [id, tenant])
}

const READ_ARTIFACTS: Statement = {
  name: 'read_artifacts',
  text: `
select ${COLUMNS} from taskwire.artifacts a
where a.task_id = any(array[$1::text::uuid]) and a.tenant = $2 and a.sha256 <> '${UNFINISHED}' order by a.name`,
}

/** The files of a task or upload, by name. */
export function readArtifacts({ tenant }: Principal, db: Database, owner: TaskId): Promise<StoredArtifact[]> {
  return db.run<StoredArtifact>(READ_ARTIFACTS, [owner, tenant])
}

const READ_LINKED_ARTIFACTS: Statement = {
  name: 'read_linked_artifacts',
  text: `
select ${COLUMNS} from taskwire.artifacts a
where a.task_id = any(array[$1::text::uuid]) and a.sha256 <> '${UNFINISHED}' order by a.name`,
}

/** The same for the bearer of a signed link, which was signed on behalf of the owner. */
export function readLinkedArtifacts(db: Database, owner: TaskId): Promise<StoredArtifact[]> {
  return db.run<StoredArtifact>(READ_LINKED_ARTIFACTS, [owner])
}

const READ_OWNERS: Statement = {
  name: 'read_artifact_owners',
  // One statement, one snapshot: files are recorded by running attempts only.
  text: `
select o.id, l.attempt as "runningAttempt",
  coalesce((
    select json_agg(json_build_object('attempt', a.attempt, 'name', a.name)) from taskwire.artifacts a
    where a.task_id = any(array[o.id]) and a.sha256 <> '${UNFINISHED}'
  ), '[]') as files
from unnest($1::text::uuid[]) as o(id)
left join taskwire.leases l on l.task_id = any(array[o.id])
where exists (select 1 from taskwire.tasks t where t.id = any(array[o.id]))
  or exists (select 1 from taskwire.artifacts a where a.task_id = any(array[o.id]))`,
}

/** What is known about the owners of files. Tasks and uploads that are not stored here are left out. */
export async function readArtifactOwners(db: Database, ids: readonly string[]): Promise<Map<string, KnownOwner>> {
  const rows = await db.run<{ id: TaskId; runningAttempt: number | null; files: KnownOwner['files'] }>(READ_OWNERS, [
    `{${ids.join()}}`,
  ])
  return new Map(
    rows.map(({ id, runningAttempt, files }) => [id, { files, runningAttempt: runningAttempt ?? undefined }]),
  )
}

const FIND_EXPIRED: Statement = {
  name: 'find_expired_artifacts',
  text: `select ${COLUMNS} from taskwire.artifacts a where a.expires_at <= now() order by a.expires_at limit $1`,
}

/** Expired artifacts, at most `limit`. */
export function findExpiredArtifacts(db: Database, limit: number): Promise<StoredArtifact[]> {
  return db.run<StoredArtifact>(FIND_EXPIRED, [limit])
}

const FORGET_ARTIFACT: Statement = {
  name: 'forget_artifact',
  text: `delete from taskwire.artifacts a where a.task_id = any(array[$1::text::uuid]) and a.name = $2 and a.expires_at <= now()`,
}

/** Removes the record of an expired artifact, after its bytes were deleted. */
export async function forgetExpiredArtifact(db: Database, { owner, name }: StoredArtifact): Promise<void> {
  await db.run(FORGET_ARTIFACT, [owner, name])
}

const REMOVE_ARTIFACT: Statement = {
  name: 'remove_artifact',
  text: `
delete from taskwire.artifacts a using taskwire.tasks t
where a.task_id = any(array[$1::text::uuid]) and a.name = $3 and t.id = any(array[$1::text::uuid]) and t.attempt = $2::text::integer
  and t.status ${inStatuses(RUNNING_STATUSES)}
returning a.attempt`,
}

/**
 * The attempt whose bytes can be deleted; undefined when there is no such file, or the attempt is no longer current.
 */
export async function removeArtifactIfCurrent(
  db: Database,
  { taskId, attempt }: AttemptRef,
  name: string,
): Promise<{ attempt: number } | undefined> {
  const [row] = await db.run<{ attempt: number }>(REMOVE_ARTIFACT, [taskId, String(attempt), name])
  return row
}
