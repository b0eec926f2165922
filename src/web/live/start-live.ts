/** Connects the room `live`, which knows no SQL, to the store. */
import type { FastifyBaseLogger } from 'fastify'
import type { Principal } from '../../access/principal.js'
import type { Broker } from '../../broker/broker.js'
import type { Database } from '../../db/database.js'
import { startHub, type Hub } from '../../live/hub.js'
import type { ListReads } from '../../live/list-query.js'
import { startLists, type Lists } from '../../live/lists.js'
import { readLatestLogs } from '../../store/attempts/logs.js'
import { countTasks, readListRows } from '../../store/reads/list-rows.js'
import { findTasks } from '../../store/reads/list.js'
import { readTasks, readTransitionMessages, readVersions, readWatchedTasks } from '../../store/reads/tasks.js'
import type { WaitExplainer } from '../../tasks/release/wait-explainer.js'
import type { Reading } from '../reading.js'
import { encodeCursor } from '../routes/list-query.js'

/** Starts the hub: it reads tasks on behalf of each watcher's tenant. */
export function startLive(
  { byKey: db }: Reading,
  waits: WaitExplainer,
  broker: Broker,
  log: FastifyBaseLogger,
): Promise<Hub> {
  return startHub({
    readTasks: (principal, ids) => readWatchedTasks(principal, db, ids),
    readWholeTask: async (principal, id) => (await readTasks(principal, db, [id]))[0],
    readTransitionMessages: (principal, id, since, limit) => readTransitionMessages(principal, db, id, since, limit),
    readLatestLogs: (principal, id, limit) => readLatestLogs(principal, db, id, limit),
    readVersions: (ids) => readVersions(db, ids),
    readWaits: (tasks) => waits.explainAll(tasks),
    events: broker.events,
    log,
  })
}

/** Lists that read in turns: each room counts as one client. */
export function startWatchedLists(hub: Hub, reading: Reading, log: FastifyBaseLogger): Lists {
  return startLists({
    notices: hub.notices,
    readsFor: (principal, room) => createListReads(principal, reading.inTurnsOf(room)),
    encodeCursor,
    log,
  })
}

function createListReads(principal: Principal, db: Database): ListReads {
  return {
    find: (filter, options) => findTasks(principal, db, filter, options),
    readRows: (filter, ids) => readListRows(principal, db, filter, ids),
    count: (filter) => countTasks(principal, db, filter),
  }
}
