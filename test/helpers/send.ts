/** Sends requests with JSON bodies to an application, and reads their JSON answers. */
import type { Task } from '../../src/protocol/task.js'

export interface Answer<Body> {
  status: number
  headers: Headers
  body: Body
}

export type Send = <Body = Task>(
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<Answer<Body>>

/** The paths may be whole addresses, of another application. */
export function createSend(address: string): Send {
  return async <Body>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const answer = await fetch(new URL(path, address), {
      method,
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Body }
  }
}
