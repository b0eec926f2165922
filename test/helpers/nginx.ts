/** An nginx for one test, on its own port and on loopback only. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, constants, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TestScope } from './services.js'

const PROGRAM = '/usr/sbin/nginx'
const DEADLINE_MS = 120_000

export async function hasNginx(): Promise<boolean> {
  return access(PROGRAM, constants.X_OK).then(
    () => true,
    () => false,
  )
}

/** Serves the `server` blocks that `describe` returns for the port. @returns the port */
export async function startNginx(t: TestScope, describe: (port: number) => string): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'taskwire-nginx-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const port = await findPort()
  const places = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${folder}/${name};`)
    .join(' ')
  const file = join(folder, 'nginx.conf')
  const http = `access_log off; ${places}\n${describe(port)}`
  await writeFile(
    file,
    `daemon off; worker_processes 1; pid ${folder}/pid; error_log stderr warn;${process.getuid?.() === 0 ? ' user root;' : ''}\nevents { worker_connections 256; }\nhttp {\n${http}\n}\n`,
  )
  const child = spawn(PROGRAM, ['-c', file, '-p', folder], { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', (text: Buffer) => (said += text.toString()))
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGTERM')
    await exited
  })
  const deadline = performance.now() + DEADLINE_MS
  while (!(await isListening(port))) {
    if (child.exitCode !== null || performance.now() > deadline) throw new Error(`nginx does not serve:\n${said}`)
    await sleep(20)
  }
  return port
}

async function findPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
  }).finally(() => socket.destroy()) as Promise<boolean>
}
