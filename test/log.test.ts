/** How a process logs errors. */
import t from 'tap'
import { createLog } from '../src/log.js'

const refuse = () => {
  throw new Error('read')
}

t.test('an error is logged whatever was thrown', async (t) => {
  const lines: string[] = []
  const log = createLog({ name: 'test', level: 'info' }, { write: (line) => void lines.push(line) })
  const revoked = Proxy.revocable({}, {})
  revoked.revoke()
  const thrown: [unknown, object | undefined][] = [
    [new TypeError('plain'), { type: 'TypeError', message: 'plain' }],
    [null, { type: 'object', message: 'null' }],
    [undefined, undefined], // pino writes no field without a value
    ['text', { type: 'string', message: "'text'" }],
    [5n, { type: 'bigint', message: '5n' }],
    [Symbol('s'), { type: 'symbol', message: 'Symbol(s)' }],
    [{ code: 5 }, { code: 5 }],
    [
      {
        get message() {
          return refuse()
        },
      },
      { type: 'unreadable' },
    ],
    [new Proxy({}, { get: refuse, has: refuse, ownKeys: refuse, getPrototypeOf: refuse }), { type: 'unreadable' }],
    [revoked.proxy, { type: 'unreadable' }],
  ]
  for (const [error, expected] of thrown) {
    log.error({ err: error }, 'seen')
    const line = JSON.parse(lines.pop() ?? '') as { err?: object; msg: string }
    t.equal(line.msg, 'seen')
    t.match(line.err, expected)
  }
})
