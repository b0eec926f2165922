/** The built-in definitions. To add a type of task: add a file beside this one, and one line to the list. */
import type { Definition } from '../tasks/definition.js'
import { demoSleep } from './demo-sleep.js'
import { createHttpRequest } from './http-request.js'
import { reportGenerate } from './report-generate.js'

/** The type of a task that is created without one. */
export const DEFAULT_TYPE = 'demo.sleep'

export interface DefinitionOptions {
  /** Whether `http.request` may reach private, loopback and other non-public addresses, on any port. */
  httpRequestAllowPrivate: boolean
}

/** Every type of task that this server offers. */
export function createDefinitions(options: DefinitionOptions): Definition[] {
  return [
    demoSleep,
    reportGenerate,
    createHttpRequest({ allowPrivate: options.httpRequestAllowPrivate }),
  ]
}
