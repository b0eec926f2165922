/** Carries errors from the process of a handler to its worker. */
import { DiskFullError } from '../../artifacts/disk-floor.js'
import { DatabaseAwayError } from '../../definitions/definition.js'
import { CancelTask, PermanentFailure, PutBack, RetryLater, UnstorableError } from '../../definitions/outcome-errors.js'
import { describeError, toReadable } from '../../definitions/thrown.js'
import type { ThrownError } from './messages.js'

/** Never throws, whatever the handler threw. */
export function packError(thrown: unknown): ThrownError {
  const error = toReadable(thrown)
  const described = describeError(error)
  if (error instanceof RetryLater) return { kind: 'RetryLater', ...described, delayMs: error.delayMs }
  if (error instanceof PutBack) return { kind: 'PutBack', ...described, delayMs: error.delayMs }
  if (error instanceof UnstorableError) return { kind: 'UnstorableError', ...described, code: error.code }
  const kind = [PermanentFailure, CancelTask, DatabaseAwayError, DiskFullError].find(
    (Class) => error instanceof Class,
  )?.name
  return { kind: (kind ?? 'Error') as ThrownError['kind'], ...described }
}

export function unpackError({ kind, name, message, stack, delayMs = 0, code = 'invalid_result' }: ThrownError): Error {
  const error = create(kind, message, delayMs, code)
  Object.defineProperty(error, 'name', { value: name })
  if (stack !== undefined) error.stack = stack
  return error
}

function create(kind: ThrownError['kind'], message: string, delayMs: number, code: UnstorableError['code']): Error {
  switch (kind) {
    case 'RetryLater':
      return withDelay(new RetryLater(0, message), delayMs)
    case 'PutBack':
      return withDelay(new PutBack(0, message), delayMs)
    case 'PermanentFailure':
      return new PermanentFailure(message)
    case 'CancelTask':
      return new CancelTask(message)
    case 'DatabaseAwayError':
      return new DatabaseAwayError(message)
    case 'DiskFullError':
      return new DiskFullError(message)
    case 'UnstorableError':
      return new UnstorableError(code, message)
    case 'Error':
      return new Error(message)
  }
}

/** Sets `delayMs` unchecked, so that it is treated as in the process where the error was thrown. */
function withDelay(error: Error, delayMs: unknown): Error {
  return Object.defineProperty(error, 'delayMs', { value: delayMs, enumerable: true })
}
