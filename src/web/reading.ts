/**
 * The database for streams and lists, on separate connections, so that reads, however many or expensive, never take a
 * connection that a create or a cancel needs.
 *
 * Reads by key use any of these connections. Lists use at most half, with clients taking turns (see `fair-turns.ts`),
 * one short statement each, so that streams keep running. PostgreSQL ends a statement that takes too long.
 */
import fastifyPostgres from '@fastify/postgres'
import type { FastifyInstance } from 'fastify'
import { toPgConfig } from '../db/database-url.js'
import { STATEMENT_SETTINGS, type Database } from '../db/database.js'
import { wrapPool } from '../db/wrap-pool.js'
import { createFairTurns } from './fair-turns.js'

/** How long a read may wait for a connection, and for its answer, in milliseconds. */
const DEADLINE_MS = { connect: 3_000, statement: 5_000, answer: 7_000 }

export interface Reading {
  /** For reads by key. */
  byKey: Database
  /** For lists: statements run in the turns of this client. Not for transactions. */
  inTurnsOf(client: unknown): Database
}

/** @fastify/postgres owns the pool and ends it when the application closes. */
export async function registerReading(
  app: FastifyInstance,
  { databaseUrl, connections }: { databaseUrl: string; connections: number },
): Promise<Reading> {
  await app.register(fastifyPostgres, {
    name: 'reads',
    ...toPgConfig(databaseUrl, {
      applicationName: 'taskwire web reads',
      options: `${STATEMENT_SETTINGS} -c statement_timeout=${DEADLINE_MS.statement}`,
      connectTimeoutSeconds: DEADLINE_MS.connect / 1_000,
    }),
    max: connections,
    query_timeout: DEADLINE_MS.answer,
  })
  const { pool } = app.pg['reads'] ?? app.pg
  pool.on('error', (error) => app.log.warn({ err: error }, 'lost an idle database connection'))
  const byKey = wrapPool(pool)
  const turns = createFairTurns({ maxUnderWay: Math.max(1, Math.floor(connections / 2)) })
  return {
    byKey,
    inTurnsOf: (client) => ({
      ...byKey,
      run: (statement, parameters) => turns.take(client, () => byKey.run(statement, parameters)),
    }),
  }
}
