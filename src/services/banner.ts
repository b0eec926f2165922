/** What `start` says once everything is up: where it is, what it runs on, and two lines to paste. */

/** Where the services are, and in words what they are. */
export interface Addresses {
  databaseUrl: string
  database: string
  /** Undefined when PostgreSQL carries the tasks itself. */
  redisUrl: string | undefined
  redis: string | undefined
}

const WITHOUT_REDIS =
  'none found: PostgreSQL carries tasks and live updates, which is slower; install redis-server (or valkey-server), or set REDIS_URL, and start again'

/** The lines of the banner. */
export function describeBanner(options: { address: string } & Omit<Addresses, 'databaseUrl' | 'redisUrl'>): string[] {
  const address = reachableAddress(options.address)
  return [
    '',
    `Taskwire is ready: ${address}`,
    '',
    `  PostgreSQL  ${options.database}`,
    `  Redis       ${options.redis ?? WITHOUT_REDIS}`,
    '',
    'Create a task:',
    `  ${curlLine(address)}`,
    '',
    `Create one and watch it in the browser's console, on ${address}:`,
    `  ${consoleLine()}`,
    '',
    'Ctrl-C stops everything; the data stays.',
    '',
  ]
}

/** Whoever listens on every address is reached on this machine's own. */
function reachableAddress(address: string): string {
  const url = new URL(address)
  if (url.hostname === '0.0.0.0') url.hostname = '127.0.0.1'
  if (url.hostname === '[::]') url.hostname = '[::1]'
  return url.origin
}

/** A command for a shell. */
function curlLine(address: string): string {
  return `curl -s -X POST ${address}/api/tasks -H 'content-type: application/json' -d '{"title":"example task"}'`
}

/** A statement for the console of a page of this server: creates a task and logs each status it goes through. */
function consoleLine(): string {
  const create = `fetch('/api/tasks', {method: 'POST', headers: {'content-type': 'application/json'}, body: '{"title":"example task"}'})`
  const watch = `new WebSocket(location.origin.replace('http', 'ws') + task.links.stream).onmessage = (e) => console.log(JSON.parse(e.data).status)`
  return `${create}.then((r) => r.json()).then((task) => { ${watch} })`
}
