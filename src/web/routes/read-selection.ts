/**
 * `GET /api/tasks/events`: the changes of a selection of tasks. As for one task, `Accept` selects the format: the
 * stored list, a stream of server-sent events, or of text lines. The streams are subscriptions, as over `/ws/tasks`.
 */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Principal } from '../../access/principal.js'
import type { Hub } from '../../live/hub.js'
import type { ListQuery } from '../../live/list-query.js'
import { linkTo } from '../../protocol/base-path.js'
import { Problem } from '../../protocol/errors.js'
import type { TaskFilter } from '../../protocol/filter.js'
import { MAX_BATCH_TASKS, NoBody, SelectionTransitionList } from '../../protocol/http.js'
import { POSITIONS_PATTERN, SelectionQuery } from '../../protocol/queries.js'
import { isFinal } from '../../protocol/status.js'
import type { Selection } from '../../protocol/subscription.js'
import type { TaskId } from '../../protocol/task.js'
import { findTasks } from '../../store/reads/list.js'
import { readHistoryOfTasks } from '../../store/reads/tasks.js'
import { chooseFormat, type EventFormat } from '../live/event-format.js'
import { readLastEventId, type HttpStreams } from '../live/http-stream.js'
import type { StreamLimits } from '../live/stream-limits.js'
import { ProblemError } from '../problem.js'
import type { Reading } from '../reading.js'
import { decodeHistoryCursor, encodeHistoryCursor, readFilter, readListRequest } from './list-query.js'

const MAX_LISTED_TASKS = 200

export interface ReadSelectionDeps {
  reading: Reading
  hub: Hub
  limits: StreamLimits
  streams: HttpStreams
}

type Client = Pick<FastifyRequest, 'principal' | 'ip'>

export const readSelectionRoutes: FastifyPluginAsyncTypebox<ReadSelectionDeps> = async (
  app,
  { reading, hub, limits, streams },
) => {
  app.get(
    '/api/tasks/events',
    {
      schema: {
        tags: ['tasks'],
        operationId: 'readEvents',
        summary: 'Read or follow what happens to many tasks',
        description:
          'Selects tasks by `ids`, by `batch`, or by a filter. `Accept` selects the format: `application/json` (default) is the stored ' +
          'history, for a filter that of the newest 200 matching tasks (pass `nextCursor` as `cursor` for the next page); `text/event-stream` is a stream of server-sent events, `text/plain` ' +
          'the same as text lines. A stream of ids or of a batch ends when all tasks have ended; a client that reconnects with `Last-Event-ID` misses nothing. ' +
          '204: all have ended, and the client has seen it. A stream of a filter starts with snapshots and does not end. With `list`, a stream sends ' +
          'a list of that many of the newest matching tasks (`list`) and its changes (`change`); `ids` may name tasks to follow over ' +
          'the same stream.',
        querystring: SelectionQuery,
        response: { 200: SelectionTransitionList, 204: NoBody, 400: Problem, 404: Problem, 429: Problem, 503: Problem },
      },
    },
    async (request, reply) => {
      const { since, cursor, list, ids, ...filter } = request.query
      const format = chooseFormat(request.headers.accept)
      if (list !== undefined) {
        const query = readListRequest({ filter, limit: list, ...(cursor !== undefined && { before: cursor }) })
        return followList(query, { ids: ids === undefined ? undefined : toIds(ids), since, format }, request, reply)
      }
      const after = cursor === undefined ? undefined : decodeHistoryCursor(cursor)
      const selection = await fixBatch(reading, toSelection(ids, filter), request)
      if (format === undefined) {
        const listed = 'ids' in selection ? selection.ids : await findIds(reading, selection, MAX_LISTED_TASKS, request)
        const { items, next } = await readHistoryOfTasks(
          request.principal,
          reading.inTurnsOf(request.ip),
          listed,
          after,
        )
        return { items, nextCursor: next && encodeHistoryCursor(next) }
      }
      const held = 'ids' in selection ? readHeld(selection.ids, request, since) : {}
      limits.assertRoom(request)
      if ('ids' in selection && (await isAllSeen(hub, request.principal, selection.ids, held)))
        return reply.code(204).send(undefined)
      streams.followMany(selection, { since: held, format, onEnd: limits.enter(request) }, reply)
      return reply
    },
  )

  function followList(
    list: ListQuery,
    { ids, since, format }: { ids: TaskId[] | undefined; since: string | undefined; format: EventFormat | undefined },
    request: FastifyRequest,
    reply: FastifyReply,
  ): FastifyReply {
    if (format === undefined) {
      throw new ProblemError('invalid_request', 'A list can only be followed as a stream.', [
        {
          pointer: '/list',
          detail: 'is only possible with a stream',
          fix: `Send Accept: text/event-stream, or use GET ${linkTo('/api/tasks')}.`,
        },
      ])
    }
    const held = ids === undefined ? {} : readHeld(ids, request, since)
    limits.assertRoom(request)
    streams.followMany(ids && { ids }, { list, since: held, format, onEnd: limits.enter(request) }, reply)
    return reply
  }
}

/** A batch alone is turned into its ids, so that the stream has a position. */
async function fixBatch(reading: Reading, selection: Selection, client: Client): Promise<Selection> {
  if ('ids' in selection || selection.batch === undefined || Object.keys(selection).length > 1) return selection
  const ids = await findIds(reading, selection, MAX_BATCH_TASKS, client)
  if (ids.length === 0) throw new ProblemError('batch_not_found', `There is no batch ${selection.batch}.`)
  return { ids: ids.reverse() }
}

/** The newest first. */
async function findIds(
  reading: Reading,
  filter: TaskFilter,
  limit: number,
  { principal, ip }: Client,
): Promise<TaskId[]> {
  const { found } = await findTasks(principal, reading.inTurnsOf(ip), filter, { limit })
  return found.map(({ id }) => id)
}

/** An EventSource reconnects after the end too; 204 tells it to stop. */
async function isAllSeen(
  hub: Hub,
  principal: Principal,
  ids: readonly TaskId[],
  held: Record<TaskId, number>,
): Promise<boolean> {
  if (!ids.some((id) => id in held)) return false
  const isSeen = async (id: TaskId) => {
    const task = (await hub.find(principal, id)) ? hub.task(principal, id) : undefined
    return task === undefined || (isFinal(task.status) && task.version === held[id])
  }
  return (await Promise.all(ids.map(isSeen))).every(Boolean)
}

/** @throws ProblemError `invalid_request` */
function toSelection(ids: string | undefined, filter: TaskFilter): Selection {
  if (ids === undefined) return readFilter(filter)
  const [other] = Object.keys(filter)
  if (other === undefined) return { ids: toIds(ids) }
  throw new ProblemError('invalid_request', `ids and ${other} cannot be combined.`, [
    { pointer: `/${other}`, detail: 'cannot be combined with ids', fix: 'Omit one of them.' },
  ])
}

const toIds = (text: string): TaskId[] => [...new Set(text.toLowerCase().split(','))]

/** The versions that the client holds. @throws ProblemError `invalid_request` */
function readHeld(ids: readonly TaskId[], request: FastifyRequest, since: string | undefined): Record<TaskId, number> {
  const position = readLastEventId(request, new RegExp(POSITIONS_PATTERN), 'a position of this stream') ?? since
  return position === undefined ? {} : toVersions(ids, position)
}

/** @throws ProblemError `invalid_request` */
function toVersions(ids: readonly TaskId[], position: string): Record<TaskId, number> {
  const versions = position.split(',').map(Number)
  if (versions.length !== ids.length) {
    throw new ProblemError('invalid_request', `The position has ${versions.length} versions for ${ids.length} ids.`, [
      {
        pointer: '/since',
        detail: 'must have one version for each id',
        fix: 'Send the id of the last event together with the same ids, or omit it.',
      },
    ])
  }
  return Object.fromEntries(
    ids.map((id, index) => [id, versions[index] ?? 0] as const).filter(([, version]) => version > 0),
  )
}
