import t from 'tap'
import { startApp } from '../helpers/app.js'

t.test('a page of an allowed origin reads answers, a page of another does not', async (t) => {
  const { address } = await startApp(t, [], { ALLOWED_ORIGINS: 'https://app.example.com' })
  const ask = (origin: string, init: RequestInit = {}) => fetch(`${address}/api/types`, { ...init, headers: { origin, ...init.headers } })
  t.equal((await ask('https://app.example.com')).headers.get('access-control-allow-origin'), 'https://app.example.com')
  t.equal((await ask('https://evil.example.com')).headers.get('access-control-allow-origin'), null)
  const preflight = await fetch(`${address}/api/tasks`, {
    method: 'OPTIONS',
    headers: { origin: 'https://app.example.com', 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' },
  })
  t.equal(preflight.status, 204)
  t.match(preflight.headers.get('access-control-allow-methods'), 'POST')
  t.equal(preflight.headers.get('access-control-allow-headers'), 'content-type')
})

t.test('without allowed origins no page but its own reads anything', async (t) => {
  const { address } = await startApp(t)
  const answer = await fetch(`${address}/api/types`, { headers: { origin: 'https://app.example.com' } })
  t.equal(answer.status, 200)
  t.equal(answer.headers.get('access-control-allow-origin'), null)
})
