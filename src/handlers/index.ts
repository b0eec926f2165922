/** The built-in definitions. To add a type of task: add a file beside this one, and one line to the list. */
import { readWorkerQueues } from '../config/shared.js'
import { splitList } from '../environment.js'
import { StartupError } from '../startup-error.js'
import { DEFAULT_QUEUE, type Definition, type TaskTypesOf } from '../tasks/definition.js'
import type { DiskFloor } from '../tasks/disk-floor.js'
import { createRegistry, type Registry } from '../tasks/registry.js'
import { demoSleep } from './demo-sleep.js'
import { createEmailSend } from './email-send.js'
import { createHttpRequest } from './http-request.js'
import { createImageThumbnail } from './image-thumbnail.js'
import { loadOwnDefinitions } from './own.js'
import { reportGenerate } from './report-generate.js'
import { tasksExport } from './tasks-export.js'
import { CALLBACK_QUEUE, createWebhookDeliver } from './webhook-deliver.js'

/** The type of a task that is created without one. */
export const DEFAULT_TYPE = 'demo.sleep'

export interface DefinitionOptions {
  /** Whether `http.request` may reach private, loopback and other non-public addresses, on any port. */
  httpRequestAllowPrivate: boolean
  /** The mail server; files in `emailDir` when left out. */
  smtpUrl?: string | undefined
  emailFrom: string
  emailDir: string
  /** What keeps the disk of `emailDir` from filling up. */
  floor?: DiskFloor | undefined
  /** Attempts that the worker runs at the same time in a queue that says nothing else. */
  workerConcurrency?: number | undefined
  /** What callbacks are signed with; one of the installation's own when left out. */
  webhookSecret?: string | undefined
  /** Further queues that tasks may ask for, with commas between. */
  queues?: string
  /** Queues that workers serve, as in WORKER_QUEUES. */
  workerQueues?: string
  /** A folder with definitions of the project's own. */
  tasksDir?: string | undefined
}

/** The built-in types, for `createClient`. */
export type BuiltInTypes = TaskTypesOf<
  [
    typeof demoSleep,
    typeof reportGenerate,
    typeof tasksExport,
    ReturnType<typeof createHttpRequest>,
    ReturnType<typeof createEmailSend>,
    ReturnType<typeof createImageThumbnail>,
  ]
>

/** The built-in definitions. */
export function createDefinitions(options: DefinitionOptions): Definition[] {
  const named = readWorkerQueues(options.workerQueues ?? '')
  const slots = named.get(DEFAULT_QUEUE) ?? options.workerConcurrency
  return [
    demoSleep,
    reportGenerate,
    createHttpRequest({ allowPrivate: options.httpRequestAllowPrivate, slots }),
    tasksExport,
    createEmailSend({ smtpUrl: options.smtpUrl, from: options.emailFrom, folder: options.emailDir, floor: options.floor, slots }),
    createImageThumbnail({ allowPrivate: options.httpRequestAllowPrivate }),
    createWebhookDeliver({ allowPrivate: options.httpRequestAllowPrivate, secret: options.webhookSecret, slots: named.get(CALLBACK_QUEUE) }),
  ]
}

/**
 * Every type of task that this server offers.
 * @throws StartupError when the folder of own definitions cannot be loaded, or two definitions have the same type
 */
export async function loadRegistry(options: DefinitionOptions): Promise<Registry> {
  const own = options.tasksDir === undefined ? [] : await loadOwnDefinitions(options.tasksDir)
  try {
    const queues = [...splitList(options.queues ?? ''), ...readWorkerQueues(options.workerQueues ?? '').keys()]
    return createRegistry([...createDefinitions(options), ...own], DEFAULT_TYPE, queues)
  } catch (error) {
    throw error instanceof Error ? new StartupError(error.message, { cause: error }) : error
  }
}
