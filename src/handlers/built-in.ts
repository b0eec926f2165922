/** The built-in definitions. To add a type of task: add a file beside this one, and one line to the list. */
import type { DiskFloor } from '../artifacts/disk-floor.js'
import { readWorkerQueues } from '../config/shared.js'
import { DEFAULT_QUEUE, type Definition, type TaskTypesOf } from '../definitions/definition.js'
import { demoSleep } from './demo-sleep.js'
import { createEmailSend } from './email-send.js'
import { createHttpRequest } from './http-request.js'
import { createImageThumbnail } from './image-thumbnail.js'
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
