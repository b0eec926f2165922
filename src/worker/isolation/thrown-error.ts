/** Errors on their way from the process of a handler to its worker. */
import { DatabaseAwayError } from '../../tasks/definition.js'
import { CancelTask, PermanentFailure, RetryLater } from '../../tasks/outcome-errors.js'
import { toError } from '../../tasks/thrown.js'
import type { ThrownError } from './messages.js'

export function packError(thrown: unknown): ThrownError {
  const error = toError(thrown)
  const { name, message, stack } = error
  if (error instanceof RetryLater) return { kind: 'RetryLater', name, message, stack, delayMs: error.delayMs }
  const kind = [PermanentFailure, CancelTask, DatabaseAwayError].find((Class) => error instanceof Class)?.name
  return { kind: (kind ?? 'Error') as ThrownError['kind'], name, message, stack }
}

export function unpackError({ kind, name, message, stack, delayMs = 0 }: ThrownError): Error {
  const error = create(kind, message, delayMs)
  Object.defineProperty(error, 'name', { value: name })
  if (stack !== undefined) error.stack = stack
  return error
}

function create(kind: ThrownError['kind'], message: string, delayMs: number): Error {
  switch (kind) {
    case 'RetryLater':
      return new RetryLater(delayMs, message)
    case 'PermanentFailure':
      return new PermanentFailure(message)
    case 'CancelTask':
      return new CancelTask(message)
    case 'DatabaseAwayError':
      return new DatabaseAwayError(message)
    case 'Error':
      return new Error(message)
  }
}
