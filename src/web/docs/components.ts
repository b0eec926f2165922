/**
 * The named schemas of the document: those of the protocol, and for each task type its create, its task and their
 * parts.
 */
import type { TSchema } from 'typebox'
import type { Registry } from '../../definitions/registry.js'
import { Artifact, ArtifactList, Link, Upload } from '../../protocol/artifact.js'
import { linkTexts } from '../../protocol/base-path.js'
import { FieldError, Problem } from '../../protocol/errors.js'
import {
  Attempt,
  AttemptList,
  Batch,
  CancelRequest,
  CreateBatch,
  CreateTask,
  EditTask,
  Health,
  LogPage,
  Readiness,
  SelectionTransitionList,
  TaskPage,
  TransitionList,
  TypeInfo,
  TypeList,
} from '../../protocol/http.js'
import {
  HaltedSequence,
  HaltedSequenceList,
  Limit,
  LimitList,
  Pause,
  PauseList,
  PutLimit,
  PutPause,
  PutWeight,
  Weight,
  WeightList,
} from '../../protocol/release.js'
import {
  Backfill,
  BackfillAnswer,
  NextRun,
  PauseSchedule,
  PutSchedule,
  RunNowAnswer,
  Schedule,
  ScheduleDetail,
  SchedulePage,
  SchedulePreview,
  ScheduleSpec,
  ScheduledTask,
  Slot,
  SlotPage,
} from '../../protocol/schedule.js'
import { Failure, LogLine, Progress, Task, TaskLinks, TaskSlot, TaskSummary, Transition } from '../../protocol/task.js'
import { DrainRequest, QuarantinedType, QueueCapacity, Worker, WorkerList, WorkerQueue } from '../../protocol/worker.js'
import { toPlainSchema, toPlainSchemas, type PlainSchema } from './plain-schema.js'
import { createSample } from './sample.js'

/** `CreateTask` and `Task` are described type by type. */
const OF_PROTOCOL: Record<string, TSchema> = {
  Artifact,
  ArtifactList,
  Attempt,
  AttemptList,
  Backfill,
  BackfillAnswer,
  Batch,
  CancelRequest,
  CreateBatch,
  DrainRequest,
  EditTask,
  Failure,
  FieldError,
  HaltedSequence,
  HaltedSequenceList,
  Health,
  Limit,
  LimitList,
  Link,
  LogLine,
  LogPage,
  NextRun,
  Pause,
  PauseList,
  PauseSchedule,
  Problem,
  Progress,
  PutLimit,
  PutPause,
  PutSchedule,
  PutWeight,
  QuarantinedType,
  QueueCapacity,
  Readiness,
  RunNowAnswer,
  Schedule,
  ScheduleDetail,
  SchedulePage,
  SchedulePreview,
  ScheduleSpec,
  ScheduledTask,
  SelectionTransitionList,
  Slot,
  SlotPage,
  TaskLinks,
  TaskPage,
  TaskSlot,
  TaskSummary,
  Transition,
  TransitionList,
  TypeInfo,
  TypeList,
  Upload,
  Weight,
  WeightList,
  Worker,
  WorkerList,
  WorkerQueue,
}
const NAMES = new Map<object, string>(
  Object.entries({ ...OF_PROTOCOL, CreateTask, Task }).map(([name, schema]) => [schema, name]),
)

const at = (name: string) => `#/components/schemas/${name}`
const refTo = (name: string) => ({ $ref: at(name) })

/** A reference to a named schema. */
export function refer(schema: object): string | undefined {
  const name = NAMES.get(schema)
  return name === undefined ? undefined : at(name)
}

/** All schemas. Only our own texts name addresses of this server; those of types may name others. The caller, which builds the document, removes those that nothing refers to. */
export function describeSchemas(registry: Registry): Record<string, PlainSchema> {
  const ofProtocol = Object.entries(OF_PROTOCOL).map(
    ([name, schema]) => [name, linkTexts(toPlainSchema(schema, { refer }))] as const,
  )
  const ofTypes = registry.list().flatMap((info) => Object.entries(describeType(info, registry)))
  const all: Record<string, PlainSchema> = {
    ...Object.fromEntries([...ofProtocol, ...ofTypes]),
    ...describeCreates(registry),
    Task: describeTask(registry),
  }
  return Object.fromEntries(Object.entries(all).map(([name, schema]) => [name, isLoop(name, all) ? {} : schema]))
}

/** Whether a schema is only a reference that leads back to itself. */
function isLoop(name: string, all: Readonly<Record<string, PlainSchema>>): boolean {
  const seen = new Set<string>()
  for (let ref: unknown = at(name); typeof ref === 'string'; ref = all[ref.slice(at('').length)]?.['$ref']) {
    if (seen.has(ref)) return true
    seen.add(ref)
  }
  return false
}

/**
 * The schemas of one type. Its payload is described as it is sent and, if the schema has defaults, as it is stored too.
 */
function describeType(info: TypeInfo, registry: Registry): Record<string, PlainSchema> {
  const { type, title, description, payload, result, progress, isInternal } = info
  const told = { title: `Payload of ${type}`, description: `${title}. ${description}` }
  const sent = toPlainSchemas(`${type}.payload`, payload, { isInput: true })
  const stored = toPlainSchemas(`${type}.payload_stored`, payload)
  const isSame = JSON.stringify(sent) === JSON.stringify(stored).replaceAll('.payload_stored', '.payload')
  const storedName = isSame ? `${type}.payload` : `${type}.payload_stored`
  const data = progress === null ? {} : { [`${type}.progress`]: { title: `Progress data of ${type}` } }
  return withTexts(
    {
      ...sent,
      ...(isSame ? {} : stored),
      ...toPlainSchemas(`${type}.result`, result),
      ...(progress === null ? {} : toPlainSchemas(`${type}.progress`, progress)),
      ...(isInternal ? {} : { [`${type}.create`]: describeCreateOf(type, registry) }),
      [`${type}.task`]: describeTaskOf(info, storedName),
    },
    {
      [`${type}.payload`]: told,
      [`${type}.payload_stored`]: { ...told, title: `Payload of ${type}, with its defaults filled in` },
      [`${type}.result`]: { title: `Result of ${type}` },
      ...data,
    },
  )
}

/** A reference stands alone; other schemas get a description, unless they have their own. */
function withTexts(
  schemas: Record<string, PlainSchema>,
  texts: Record<string, PlainSchema>,
): Record<string, PlainSchema> {
  return Object.fromEntries(
    Object.entries(schemas).map(([name, schema]) => [name, '$ref' in schema ? schema : { ...texts[name], ...schema }]),
  )
}

function describeCreateOf(type: string, registry: Registry): PlainSchema {
  const isPayloadNeeded = isNeeded(type, registry)
  const sample = createSample(type, registry)
  return {
    title: `A task of type ${type}`,
    type: 'object',
    properties: { ...describeCreateFields(type), type: { const: type, description: 'the kind of work' } },
    required: isPayloadNeeded ? ['type', 'payload'] : ['type'],
    additionalProperties: false,
    not: NOT_BOTH_TIMES,
    ...(sample && { examples: [sample] }),
  }
}

/** `runAt` and `delayMs` are two ways to say the same. */
const NOT_BOTH_TIMES = { properties: { runAt: {}, delayMs: {} }, required: ['runAt', 'delayMs'] }

function describeCreateFields(type: string): Record<string, PlainSchema> {
  const { properties } = toPlainSchema(CreateTask, { refer }) as { properties: Record<string, PlainSchema> }
  return { ...properties, payload: refTo(`${type}.payload`) }
}

/** Whether the type requires a payload. */
function isNeeded(type: string, registry: Registry): boolean {
  const found = registry.find(type)
  return found === undefined || found.readPayload(undefined).errors.length > 0
}

/**
 * By type, or as the default type, whose `type` may be omitted. The two overlap, so it is `anyOf`; the choice by `type`
 * is nested in the first, because a discriminator must be present to choose by.
 */
function describeCreates(registry: Registry): Record<string, PlainSchema> {
  const isPayloadNeeded = isNeeded(registry.defaultType, registry)
  const names = registry.creatableTypes().map((type) => [type, `${type}.create`] as const)
  return {
    CreateTask: {
      description:
        'The request to create a task of the named type, or of the default type. `{"title": "example task"}` alone is valid.',
      anyOf: [refTo('CreateTypedTask'), refTo('CreateDefaultTask')],
    },
    CreateTypedTask: {
      description: 'A task of the named type.',
      oneOf: names.map(([, name]) => refTo(name)),
      discriminator: {
        propertyName: 'type',
        mapping: Object.fromEntries(names.map(([type, name]) => [type, at(name)])),
      },
    },
    CreateDefaultTask: {
      title: `A task of the default type, ${registry.defaultType}`,
      type: 'object',
      properties: {
        ...describeCreateFields(registry.defaultType),
        type: { const: registry.defaultType, description: 'may be omitted' },
      },
      ...(isPayloadNeeded && { required: ['payload'] }),
      additionalProperties: false,
      not: NOT_BOTH_TIMES,
      ...(!isPayloadNeeded && { examples: [{ title: 'example task' }] }),
    },
  }
}

function describeTaskOf({ type, progress }: TypeInfo, payloadName: string): PlainSchema {
  const { properties, ...plain } = toPlainSchema(Task, { refer }) as { properties: Record<string, PlainSchema> }
  const report = { allOf: [refTo('Progress'), { type: 'object', properties: { data: refTo(`${type}.progress`) } }] }
  return {
    title: `A task of type ${type}`,
    ...plain,
    properties: {
      ...properties,
      type: { const: type },
      payload: refTo(payloadName),
      result: {
        description: 'the return value of the handler; null until COMPLETED',
        anyOf: [refTo(`${type}.result`), { type: 'null' }],
      },
      ...(progress !== null && { progress: { anyOf: [report, { type: 'null' }] } }),
    },
  }
}

function describeTask(registry: Registry): PlainSchema {
  const names = registry.list().map(({ type }) => [type, `${type}.task`] as const)
  return {
    description:
      'The whole task, by its type. A task stored before its type changed has a payload in the form of that time; a task of a type ' +
      'that the server no longer has may contain any JSON.',
    oneOf: names.map(([, name]) => refTo(name)),
    discriminator: { propertyName: 'type', mapping: Object.fromEntries(names.map(([type, name]) => [type, at(name)])) },
  }
}
