/** An uncaught error ends a role, and one log line names its cause. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'

const RUN_ROLE = new URL('../../dist/services/supervise/run-role.js', import.meta.url).href

/** A role with a bug in the listener of a connection. The client is in the same process, so its port is known. */
const main = (mistake: string) => `
import { createServer, connect } from 'node:net'
import { createServer as createHttpServer, get } from 'node:http'
import { runRole } from '${RUN_ROLE}'
runRole('relay', async () => {
  const boom = () => { throw new Error('boom') }
  ${mistake}
  return { stop: async () => {} }
})
`
const MISTAKES = {
  socket: `const server = createServer((socket) => socket.on('data', boom)).listen(0, '127.0.0.1', () => {
    const client = connect(server.address().port, '127.0.0.1', () => { console.log('PORT ' + client.localPort); client.write('x') })
  })`,
  request: `const server = createHttpServer(boom).listen(0, '127.0.0.1', () => {
    get({ port: server.address().port, host: '127.0.0.1' }).on('error', () => {}).on('socket', (socket) => socket.on('connect', () => console.log('PORT ' + socket.localPort)))
  })`,
  timer: `setTimeout(boom, 1)`,
  promise: `setTimeout(async () => boom(), 1)`,
}

async function run(folder: string, name: string) {
  const env = { PATH: process.env['PATH'], DATABASE_URL: 'postgres://127.0.0.1/x' }
  const ended = promisify(execFile)(process.execPath, [join(folder, `${name}.mjs`)], { env }) as Promise<{
    stdout: string
  }>
  const { stdout, code } = await ended.then(
    ({ stdout }) => ({ stdout, code: 0 }),
    (error: { stdout: string; code: number }) => error,
  )
  const lines = stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  return { code, fatal: lines.filter(({ level }) => level === 60), port: /PORT (\d+)/.exec(stdout)?.[1] }
}

t.test('an unhandled error causes one fatal log line that names its connection, timer or promise', async (t) => {
  const folder = t.testdir(
    Object.fromEntries(Object.entries(MISTAKES).map(([name, mistake]) => [`${name}.mjs`, main(mistake)])),
  )
  const expected = {
    socket: (port?: string) => ({ origin: 'uncaughtException', during: 'TCP', peer: `127.0.0.1:${port}` }),
    request: (port?: string) => ({
      origin: 'uncaughtException',
      during: 'HTTPServerAsyncResource',
      peer: `127.0.0.1:${port}`,
    }),
    timer: () => ({ origin: 'uncaughtException', during: 'Timeout' }),
    promise: () => ({ origin: 'unhandledRejection' }),
  }
  for (const [name, words] of Object.entries(expected)) {
    const { code, fatal, port } = await run(folder, name)
    t.equal(code, 1, name)
    t.match(fatal, [{ err: { message: 'boom', stack: new RegExp(`${name}\\.mjs`) }, ...words(port) }], name)
    t.equal(fatal.length, 1, name)
  }
})
