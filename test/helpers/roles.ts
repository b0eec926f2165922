/** Roles as real processes: `main.js <role>`. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** The command line as it is shipped. */
export const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))
/** The same, bundled: it takes a third of the time to load. See `build.js`. */
export const BUNDLED_MAIN = fileURLToPath(new URL('../main.js', import.meta.url))

export interface RoleProcess {
  child: ChildProcess
  /** Of `web`: where it listens. */
  address: string
  /** SIGTERM, and resolves with the exit code. */
  stop(): Promise<number | null>
  /** SIGKILL. */
  kill(): Promise<void>
}

/** Launches a module as a child that says `{ type: 'ready', address? }` over IPC, and waits until it has. */
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

/** Launches a role; it is stopped with the test. */
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
