/** What a developer writes: one definition per type of task. From it come validation, OpenAPI, the form and the docs. */
import type { Static, TSchema } from 'typebox'
import type { FastifyBaseLogger } from 'fastify'
import type { Database } from '../db/database.js'
import type { TaskId } from '../protocol/task.js'

/** What a running attempt can see and do. */
export interface TaskContext {
  readonly taskId: TaskId
  readonly tenant: string
  readonly title: string
  /** The run's number, from 1. */
  readonly attempt: number
  /** Aborts when the attempt should end: the worker stops, or the attempt is no longer the current one. */
  readonly signal: AbortSignal
  /** A pino logger. Its lines go to the log of the worker; from `info` up they are stored with the task and shown live, at most 1,000 a run. */
  readonly log: FastifyBaseLogger
  /** The database that Taskwire itself uses. */
  readonly db: Database
  /**
   * Says how far the run is. Cheap: the latest value is stored and shown, values in between may be skipped.
   * @param done units done so far, 0 or more
   * @param total units in all; leave out when unknown
   * @param message a line for people, at most 500 characters
   */
  progress(done: number, total?: number, message?: string): void
}

export interface Definition<Payload extends TSchema = TSchema, Result extends TSchema = TSchema> {
  /** Dotted lower-case words, e.g. `report.generate`. */
  readonly type: string
  /** A few words for people. */
  readonly title: string
  /** A sentence or two: what it does, what it needs. */
  readonly description: string
  /** Schema of the input. Its defaults are filled in at create. */
  readonly payload: Payload
  /** Schema of what `run` returns. */
  readonly result: Result
  /** Does the work. A thrown error fails the attempt with its message. */
  run(payload: Static<Payload>, context: TaskContext): Promise<Static<Result>>
}

/**
 * Declares a type of task.
 *
 * @example
 * defineTask({
 *   type: 'text.reverse',
 *   title: 'Reverse a text',
 *   description: 'Returns the text, last character first.',
 *   payload: Type.Object({ text: Type.String() }),
 *   result: Type.Object({ text: Type.String() }),
 *   async run({ text }) {
 *     return { text: [...text].reverse().join('') }
 *   },
 * })
 */
export function defineTask<Payload extends TSchema, Result extends TSchema>(
  definition: Definition<Payload, Result>,
): Definition<Payload, Result> {
  return definition
}
