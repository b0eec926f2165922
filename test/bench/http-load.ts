/**
 * A closed loop of HTTP requests: each connection sends its next request once the previous one is answered.
 *
 * The load generator shares the processors with the server under test, so it must be cheap: autocannon spends nearly as
 * much time on a request as the server does, this loop a third of that.
 */
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface LoadOptions {
  url: string
  /** The body to POST. If undefined, the request is a GET. */
  body?: string
  connections: number
  seconds: number
}

/** @throws Error when a response is not 202 (POST) or 200 (GET) */
export async function requestInLoop({
  url,
  body,
  connections,
  seconds,
}: LoadOptions): Promise<{ count: number; perSecond: number; p99Ms: number }> {
  const { hostname, port, host, pathname, search } = new URL(url)
  const ofBody =
    body === undefined ? [] : ['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`]
  const head = [`${body === undefined ? 'GET' : 'POST'} ${pathname}${search} HTTP/1.1`, `Host: ${host}`, ...ofBody]
  const request = Buffer.from(`${head.join('\r\n')}\r\n\r\n${body ?? ''}`)
  const wanted = body === undefined ? 'HTTP/1.1 200 ' : 'HTTP/1.1 202 '
  const latenciesMs: number[] = []
  let isOver = false

  async function loop(): Promise<void> {
    const line = connect({ host: hostname, port: Number(port), noDelay: true })
    let sentAtMs = performance.now()
    await new Promise<void>((resolve, reject) => {
      let answer = ''
      line.on('error', reject)
      line.on('close', () => (isOver ? resolve() : reject(new Error('the server closed a connection'))))
      line.on('data', (chunk: Buffer) => {
        answer += chunk.toString('latin1')
        if (!isWhole(answer)) return
        if (!answer.startsWith(wanted)) return reject(new Error(`an answer was ${answer.slice(0, 200)}`))
        answer = ''
        const nowMs = performance.now()
        latenciesMs.push(nowMs - sentAtMs)
        sentAtMs = nowMs
        if (isOver) line.destroy()
        else line.write(request)
      })
      line.write(request)
    }).finally(() => line.destroy())
  }

  const startedAtMs = performance.now()
  const loops = Promise.all(Array.from({ length: connections }, loop))
  await Promise.race([sleep(seconds * 1_000), loops])
  const perSecond = latenciesMs.length / ((performance.now() - startedAtMs) / 1_000)
  isOver = true
  await loops
  latenciesMs.sort((a, b) => a - b)
  return {
    count: latenciesMs.length,
    perSecond,
    p99Ms: latenciesMs[Math.floor(latenciesMs.length * 0.99)] ?? Number.NaN,
  }
}

/** Whether the whole body has arrived, by its Content-Length. */
function isWhole(answer: string): boolean {
  const end = answer.indexOf('\r\n\r\n')
  if (end === -1) return false
  const length = /\r\ncontent-length: (\d+)/i.exec(answer.slice(0, end))?.[1]
  if (length === undefined) throw new Error('an answer has no Content-Length')
  return answer.length >= end + 4 + Number(length)
}
