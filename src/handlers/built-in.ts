/** The built-in definitions. To add a task type, add a file next to this one and a line to the list. */
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
  /** The mail server; if omitted, e-mails are written to files in `emailDir`. */
  smtpUrl?: string | undefined
  emailFrom: string
  emailDir: string
  /** Keeps the disk of `emailDir` from filling up. */
  floor?: DiskFloor | undefined
  /** How many attempts the worker runs at the same time in a queue without a setting of its own. */
  workerConcurrency?: number | undefined
  /** The signing secret of callbacks; if omitted, the one of the installation. */
  webhookSecret?: string | undefined
  /** Further queues that tasks may name, comma-separated. */
  queues?: string
  /** Queues that workers serve, as in WORKER_QUEUES. */
  workerQueues?: string
  /** A folder with the project's own definitions. */
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
    createEmailSend({
      smtpUrl: options.smtpUrl,
      from: options.emailFrom,
      folder: options.emailDir,
      floor: options.floor,
      slots,
    }),
    createImageThumbnail({ allowPrivate: options.httpRequestAllowPrivate }),
    createWebhookDeliver({
      allowPrivate: options.httpRequestAllowPrivate,
      secret: options.webhookSecret,
      slots: named.get(CALLBACK_QUEUE),
    }),
  ]
}
