/** The text that `start` prints once everything is up: its address, its services, and two lines to paste. */

/** Addresses and descriptions of the services. */
export interface Addresses {
  databaseUrl: string
  database: string
  /** Undefined when PostgreSQL carries the tasks itself. */
  redisUrl: string | undefined
  redis: string | undefined
}

const WITHOUT_REDIS =
  'none found, so PostgreSQL carries tasks and live updates, which is slower. Install redis-server or valkey-server, or set REDIS_URL, and start again'

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

/** A server that listens on every address is reached on this machine's loopback address. */
function reachableAddress(address: string): string {
  const url = new URL(address)
  if (url.hostname === '0.0.0.0') url.hostname = '127.0.0.1'
  if (url.hostname === '[::]') url.hostname = '[::1]'
  return url.origin
}

/** A shell command that creates a task. */
function curlLine(address: string): string {
  return `curl -s -X POST ${address}/api/tasks -H 'content-type: application/json' -d '{"title":"example task"}'`
}

/** A statement for the browser console on a page of this server. It creates a task and logs each of its statuses. */
function consoleLine(): string {
  const create = `fetch('/api/tasks', {method: 'POST', headers: {'content-type': 'application/json'}, body: '{"title":"example task"}'})`
  const watch = `new WebSocket(location.origin.replace('http', 'ws') + task.links.stream).onmessage = (e) => console.log(JSON.parse(e.data).status)`
  return `${create}.then((r) => r.json()).then((task) => { ${watch} })`
}
