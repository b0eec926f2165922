/** Roles as real processes: `main.js <role>`. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** The command line as shipped. */
export const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))
/** The same command line, bundled: it loads in a third of the time. See `build.js`. */
export const BUNDLED_MAIN = fileURLToPath(new URL('../main.js', import.meta.url))

export interface RoleProcess {
  child: ChildProcess
  /** The address of the web role. */
  address: string
  /** Sends SIGTERM, and resolves with the exit code. */
  stop(): Promise<number | null>
  /** Sends SIGKILL. */
  kill(): Promise<void>
}

/** Starts a module as a child process, and waits until it sends `{ type: 'ready', address? }` over IPC. */
export async function launch(file: string, options: { args?: string[]; env: NodeJS.ProcessEnv }): Promise<RoleProcess> {
  const { args = [], env } = options
  const child = fork(file, args, {
    env: { ...process.env, ...env },
    execArgv: [],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const exited = once(child, 'exit').then(([code]) => code as number | null)
  const message = once(child, 'message').then(([said]) => said as { type: string; address?: string; message?: string })
  const said = await Promise.race([message, exited])
  if (said === null || typeof said === 'number' || said.type !== 'ready') {
    throw new Error(`${file} ${args.join(' ')} did not start: ${typeof said === 'object' ? said?.message : said}`)
  }
  const end = (signal: NodeJS.Signals) => {
    child.kill(signal)
    return exited
  }
  return {
    child,
    address: said.address ?? '',
    stop: () => end('SIGTERM'),
    async kill() {
      await end('SIGKILL')
    },
  }
}

/** Starts a role, which stops with the test. */
export async function startRole(
  t: { teardown(action: () => unknown): void },
  role: 'web' | 'worker' | 'relay',
  env: NodeJS.ProcessEnv,
  main = BUNDLED_MAIN,
): Promise<RoleProcess> {
  const started = await launch(main, { args: [role], env: { LOG_LEVEL: 'fatal', PORT: '0', ...env } })
  t.teardown(() => (started.child.exitCode === null && started.child.signalCode === null ? started.stop() : undefined))
  return started
}
