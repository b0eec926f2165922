/** The names of tasks, types, queues and keys, texts for people, and times. */
import { Type, type Static } from 'typebox'
import { MAX_KEY_LENGTH, MAX_REASON_LENGTH } from './limits.js'
import { STORABLE_KEY, STORABLE_TEXT } from './storable.js'

/** A time: ISO 8601, UTC, milliseconds. Always from PostgreSQL's clock. */
export const Instant = Type.String({ format: 'date-time', examples: ['2026-11-20T21:22:23.456Z'] })
export type Instant = Static<typeof Instant>
/** The first and last times of this format: RFC 3339 has years of four digits. */
export const FIRST_INSTANT = '0001-01-01T00:00:00.000Z'
export const LAST_INSTANT = '9999-12-31T23:59:59.999Z'

/** UUIDv7 (RFC 9562): ordered by creation, not guessable by counting. */
export const TaskId = Type.String({ format: 'uuid', examples: ['019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'] })
export type TaskId = Static<typeof TaskId>

/** The kind of work of a task: dotted lower-case words, e.g. `report.generate`. */
export const TaskType = Type.String({
  maxLength: 100,
  pattern: '^[a-z][a-z0-9-]*(\\.[a-z][a-z0-9-]*)*$',
  examples: ['demo.sleep'],
})
export type TaskType = Static<typeof TaskType>

/** The name of a queue. A task is run by the workers that serve its queue. */
export const QueueName = Type.String({ maxLength: 50, pattern: '^[a-z][a-z0-9-]*$', examples: ['default'] })
export type QueueName = Static<typeof QueueName>

/** What tasks have in common: a customer, an account, a document. */
export const Key = Type.String({
  minLength: 1,
  maxLength: MAX_KEY_LENGTH,
  pattern: STORABLE_KEY,
  examples: ['customer-4711'],
})

/** Why a person does something. */
export const Reason = Type.String({
  minLength: 1,
  maxLength: MAX_REASON_LENGTH,
  pattern: STORABLE_TEXT,
  description: 'for people',
})
