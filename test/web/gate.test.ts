/** The log of refused requests. */
import Fastify, { type FastifyBaseLogger } from 'fastify'
import { pino } from 'pino'
import t from 'tap'
import { registerGate } from '../../src/web/gate/gate.js'
import { answerProblem } from '../../src/web/problem.js'

function startGate(t: { teardown(end: () => unknown): void }) {
  const lines: { level: number; msg: string; refused?: string; code?: string; url?: string }[] = []
  const log: FastifyBaseLogger = pino({ level: 'warn' }, { write: (line) => void lines.push(JSON.parse(line)) })
  const app = Fastify({ loggerInstance: log, routerOptions: { ignoreTrailingSlash: true } })
  app.setErrorHandler(answerProblem)
  registerGate(app, { host: '127.0.0.1', allowedHosts: '', allowedOrigins: '' })
  t.teardown(() => app.close())
  const ask = (host: string, origin?: string) =>
    app.inject({ method: 'POST', url: '/api/tasks', headers: { host, ...(origin !== undefined && { origin }) } })
  return { lines, ask }
}

t.test('a refusal is logged once for each name, with the setting to change', async (t) => {
  const { lines, ask } = startGate(t)
  for (let count = 0; count < 3; count++) {
    await ask('tasks.example.com')
    await ask('localhost', 'https://app.example.com')
    await ask('localhost', 'https://localhost')
  }
  t.match(lines, [
    {
      level: 40,
      code: 'host_not_allowed',
      refused: 'host tasks.example.com',
      url: '/api/tasks',
      msg: /ALLOWED_HOSTS=tasks\.example\.com/,
    },
    {
      level: 40,
      code: 'origin_not_allowed',
      refused: 'origin https://app.example.com',
      msg: /ALLOWED_ORIGINS=https:\/\/app\.example\.com/,
    },
    { level: 40, refused: 'origin https://localhost', msg: /TRUST_PROXY.*X-Forwarded-Proto.*docs\/proxies\.md/ },
  ])
  t.equal(lines.length, 3)
})

t.test('an attacker with many and long names does not fill the log', async (t) => {
  const { lines, ask } = startGate(t)
  for (let count = 0; count < 500; count++) await ask(`${'x'.repeat(150)}${count}.test`, `http://${'y'.repeat(9_000)}`)
  t.equal(lines.length, 201)
  t.match(lines.at(-1)?.msg, /no further ones are logged/)
  for (const line of lines) t.ok(JSON.stringify(line).length < 1_500)
})
