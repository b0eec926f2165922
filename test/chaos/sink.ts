/** The receiver that counts effects. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestScope } from '../helpers/services.js'

/** Opens a receiver that counts its requests by idempotency key. */
export async function openSink(t: TestScope) {
  const counts = new Map<string, number>()
  const server = createServer((request, response) => {
    // The key has the form `"<task>:<key of the effect>"`.
    const id = String(request.headers['idempotency-key']).replace(/^"|:\w+"$/g, '')
    counts.set(id, (counts.get(id) ?? 0) + 1)
    request.resume().on('end', () => response.setHeader('connection', 'close').end('thanks'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    /** The number of requests, by task. */
    counts: counts as ReadonlyMap<string, number>,
    count(wanted: readonly string[]) {
      const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
      return { wanted: wanted.length, distinct: counts.size, repeated: total - counts.size }
    },
  }
}
