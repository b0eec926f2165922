import t from 'tap'
import { createStreamLimits } from '../../src/web/live/stream-limits.js'

t.test('a key is counted across addresses, an address across keys, and both are released', async (t) => {
  const limits = createStreamLimits({ maxPerAddress: 3, maxPerKey: 2, maxPerProcess: 10 })
  const client = (ip: string, token?: string) => ({
    ip,
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
  })
  const refused = (ip: string, token?: string) =>
    t.throws(() => limits.assertRoom(client(ip, token)), { code: 'too_many_streams' })
  const accepted = (ip: string, token?: string) => t.doesNotThrow(() => limits.assertRoom(client(ip, token)))
  const closeFirst = limits.open(client('a', 'one'))
  limits.open(client('b', 'one'))
  refused('c', 'one')
  accepted('c', 'two')
  accepted('c')
  closeFirst()
  accepted('c', 'one')
  for (let count = 0; count < 3; count += 1) limits.open(client('d'))
  refused('d')
  refused('d', 'three')
  accepted('e')
})
