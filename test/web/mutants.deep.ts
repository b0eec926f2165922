/**
 * Each mechanism that keeps strangers from stopping or fooling the web process is removed from a copy of the source,
 * and a test must detect it.
 */
import t from 'tap'
import { testMutants, type Mutant } from '../helpers/mutants.js'

const MUTANTS: Mutant[] = [
  {
    without: 'the verdict of the check: an empty list of errors counts as a valid value',
    file: 'src/definitions/schema-errors.ts',
    from: 'errors.length > 0 ? errors : [DOES_NOT_FIT]',
    to: 'errors',
    test: 'test/definitions/schema-errors.test.ts',
  },
  {
    without: 'the guard around a message',
    file: 'src/web/live/subscription-socket.ts',
    from: `guarded.guard<[Buffer, boolean]>('message', hear, describeFrame)`,
    to: 'hear',
    test: 'test/web/socket-guard.test.ts',
  },
  {
    without: 'the guard around a message that is answered later',
    file: 'src/web/live/subscription-socket.ts',
    from: `subscribe(subscriptions, request).catch((error: unknown) => guarded.fail('subscribe', error))`,
    to: 'void subscribe(subscriptions, request)',
    test: 'test/web/socket-guard.test.ts',
  },
  {
    without: 'the limits on JSON before it is parsed',
    file: 'src/web/bodies/json-text.ts',
    from: '  if (excess !== undefined) throw new JsonBoundError(excess)\n',
    to: '  if (excess === "") throw new JsonBoundError(excess)\n',
    test: 'test/web/json-text.test.ts',
  },
]

await testMutants(t, MUTANTS, { TAP_TIMEOUT: '30' })
