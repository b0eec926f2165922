/**
 * One start per data folder.
 *
 * The lock is a socket on which the holder listens. A process that can connect knows that the holder is alive. A socket
 * file left by a killed holder refuses connections, so it never blocks a start. The socket is in the data folder or,
 * where that path is too long for a socket, in the folder for temporary files.
 *
 * Two starts that find the same stale file at the same moment may both remove it, the later one removing the new file
 * of the earlier. So each checks, a moment after taking the lock, whether the file still leads to itself.
 */
import { createHash, randomUUID } from 'node:crypto'
import { chmod, rm } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { PRIVATE_FILE_MODE } from '../../private-files.js'
import { StartupError } from '../../startup-error.js'

/** sockaddr_un holds 104 bytes on macOS, 108 on Linux. */
const MAX_SOCKET_PATH_BYTES = 100
const ANSWER_DEADLINE_MS = 2_000
/** Longer than a racing start takes between finding the stale file and removing it. */
const SETTLE_MS = 50

export interface DataLock {
  release(): Promise<void>
}

/** Takes the lock. @throws StartupError when another start holds it */
export async function lockDataDir(dataDir: string): Promise<DataLock> {
  const path = socketPath(dataDir)
  const holder = await askHolder(path)
  if (holder !== undefined) throw describeHolder(holder, dataDir)
  await rm(path, { force: true })
  const token = randomUUID()
  const server = await listen(path, `${process.pid} ${token}`)
  await sleep(SETTLE_MS)
  const now = await askHolder(path)
  // Not closed, because that would remove the other start's file. It ends with this process.
  if (now?.endsWith(token) !== true) throw describeHolder(now ?? '', dataDir)
  return { release: () => new Promise((resolve) => server.close(() => resolve())) }
}

function socketPath(dataDir: string): string {
  const path = join(dataDir, 'start.sock')
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES) return path
  return join(tmpdir(), `taskwire-${createHash('sha256').update(dataDir).digest('hex').slice(0, 16)}.sock`)
}

/** The holder's answer; undefined when no process listens. A frozen holder counts as alive. */
function askHolder(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    let answer = ''
    const socket = connect(path)
    socket.setEncoding('utf8')
    socket.setTimeout(ANSWER_DEADLINE_MS, () => socket.destroy())
    socket.on('data', (text: string) => (answer += text))
    socket.on('connect', () => socket.on('close', () => resolve(answer)))
    socket.on('error', () => resolve(undefined))
  })
}

function listen(path: string, answer: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.end(answer)
    })
    server.unref()
    server.once('error', (error) =>
      reject(
        new StartupError(
          `cannot lock the data folder with ${path}: ${error.message}. Set DATA_DIR to a folder on a local disk.`,
        ),
      ),
    )
    server.listen(path, () => chmod(path, PRIVATE_FILE_MODE).then(() => resolve(server), reject))
  })
}

function describeHolder(answer: string, dataDir: string): StartupError {
  const pid = /^\d+/.exec(answer)?.[0]
  const who = pid === undefined ? 'another start' : `another start (process ${pid})`
  return new StartupError(
    `${who} is already running on the data folder ${dataDir}. Stop it, or set DATA_DIR to another folder.`,
  )
}
