/** A reverse proxy in front of the server that can answer by itself and block WebSockets, as some proxies do. */
import { once } from 'node:events'
import { createServer, request as sendRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import type { TestScope } from './services.js'

export interface HttpProxy {
  readonly address: string
  /** Called for each request. Returns true if it answers in place of the server. */
  answer(request: IncomingMessage, response: ServerResponse): boolean
  /** Whether the proxy forwards upgrades. */
  isUpgrading: boolean
  /** The requests so far, such as `GET /api/types`. */
  readonly requests: string[]
  /** The number of open responses that do not end by themselves: event streams. */
  openStreams(): number
  /** Ends all connections, and every new one at once. */
  cut(): void
  /** Ends `cut`. */
  mend(): void
  /** Makes the existing WebSockets pass nothing on in either direction, without notice to either side. */
  freeze(): void
}

const html =
  '<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad Gateway</h1></center></body>\r\n</html>\r\n'

/** Answers as nginx does when the server is away. */
export function answerHtml(response: ServerResponse, status: number): true {
  response.writeHead(status, { 'content-type': 'text/html' }).end(html.replaceAll('502 Bad Gateway', String(status)))
  return true
}

export async function startHttpProxy(t: TestScope, target: string): Promise<HttpProxy> {
  const { hostname, port } = new URL(target)
  const requests: string[] = []
  const streams = new Set<ServerResponse>()
  const upgraded = new Set<Socket>()
  const pass = (request: IncomingMessage, response: ServerResponse, headers = request.headers) => {
    const passed = sendRequest({ hostname, port, path: request.url, method: request.method, headers }, (answer) => {
      const isStream = answer.headers['content-type']?.startsWith('text/event-stream')
      if (isStream) streams.add(response.on('close', () => streams.delete(response)))
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    passed.on('error', () => (response.headersSent ? response.destroy() : answerHtml(response, 502)))
    response.on('close', () => passed.destroy())
    request.pipe(passed)
  }
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`)
    if (!proxy.answer(request, response)) pass(request, response)
  })
  const sockets = new Set<Socket>()
  let isCut = false
  const endAll = () => sockets.forEach((socket) => socket.destroy())
  server.on('connection', (socket) =>
    isCut ? socket.destroy() : sockets.add(socket.on('error', () => {}).on('close', () => sockets.delete(socket))),
  )
  server.on('upgrade', (request, near: Socket, head: Buffer) => {
    requests.push(`UPGRADE ${request.url}`)
    if (!proxy.isUpgrading)
      return void near.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
    const far = connect(Number(port), hostname, () => {
      const lines = request.rawHeaders.flatMap((name, index, all) =>
        index % 2 === 0 ? [`${name}: ${all[index + 1]}`] : [],
      )
      far.write([`${request.method} ${request.url} HTTP/1.1`, ...lines, '', ''].join('\r\n'))
      far.write(head)
      near.pipe(far).pipe(near)
      for (const socket of [near, far]) upgraded.add(socket.on('close', () => upgraded.delete(socket)))
    })
    far.on('error', () => near.destroy()).on('close', () => near.destroy())
    near.on('error', () => {}).on('close', () => far.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    endAll()
    server.close()
  })
  const proxy: HttpProxy = {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answer: () => false,
    isUpgrading: true,
    requests,
    openStreams: () => streams.size,
    cut() {
      isCut = true
      endAll()
    },
    mend: () => (isCut = false),
    freeze() {
      for (const socket of upgraded)
        socket
          .unpipe()
          .removeAllListeners('data')
          .on('data', () => {})
    },
  }
  return proxy
}
